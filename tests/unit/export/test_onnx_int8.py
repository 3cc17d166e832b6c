"""Graphs in INT8: what they answer, on what an answer depends, what the gate rejects, and what a refit brings back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import pytest

import manyheads as mh
from manyheads.data.labelled import Reading
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.export.onnx.gate import Agreement, agreements
from manyheads.export.onnx.quantize import Quantized, quantize, rewrite
from manyheads.export.onnx.quantizers.editing import Editor
from manyheads.export.onnx.quantizers.products import backbone_products
from manyheads.export.onnx.quantizers.quantizers import QUANTIZERS, quantizer_named
from manyheads.export.onnx.quantizers.weights import quantized
from manyheads.export.onnx.refit import head_layer, refit
from manyheads.onnx.graph_inputs import graph_inputs
from manyheads.onnx.layout import GRAPH
from tests.families import WORDS
from tests.hardware import SATURATES_INT8
from tests.laws.oracle import RECORDS

HEADS: dict[str, Any] = {
    "urgency": mh.Multiclass(["routine", "urgent", "emergency"], reads=[mh.Hidden(pool="mean"), mh.Lexical()]),
    "symptoms": mh.MultiLabel(["pain", "fever", "cough"], reads=mh.Hidden(layer=1, pool="mean")),
    "age": mh.Regression(reads=mh.Hidden(pool="mean")),
    "found": mh.Tokens(["symptom", "place"]),
    "sent": mh.Multiclass(["yes", "no"], hidden=[8]),
}
TEXTS = [" ".join(np.random.default_rng(seed).choice(WORDS, 1 + seed % 12)) for seed in range(120)]
FAMILIES = ("bert", "gpt2")


@dataclass(frozen=True)
class Case:
    """A model, its graph in fp32, and the folder that it was exported to."""

    model: mh.HeadedModel
    graph: onnx_ir.Model
    folder: Path

    def batches(self, texts: list[str]) -> list[Any]:
        return list(graph_inputs(self.folder, read_texts_from_list(texts), list(HEADS)))

    def quantized(self, scheme: str = "int8", refit_to: list[str] | None = None) -> Quantized:
        rows = None if refit_to is None else self.batches(refit_to)
        samples = self.batches(TEXTS[:20])
        return quantize(self.model.core, {GRAPH: self.graph}, list(HEADS), quantizer_named(scheme), samples, rows)

    def predictor(self, models: Any, folder: Path) -> mh.OnnxPredictor:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        rewrite(models, folder)
        return mh.OnnxPredictor(folder, batch_tokens=256)

    def agreements(self, predictor: mh.OnnxPredictor) -> dict[str, Agreement]:
        return agreements(self.model.core, self.model.tokenizer, predictor, RECORDS, Reading("text"))


@pytest.fixture(scope="module", params=FAMILIES)
def case(
    request: pytest.FixtureRequest, saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Case:
    model = mh.HeadedModel.from_pretrained(saved(request.param))
    for name, spec in HEADS.items():
        model.add_head(name, spec)
    mh.train(model, RECORDS, text="text", method=mh.Frozen(cache=None, l2=0.01), eval_fraction=0)
    folder = tmp_path_factory.mktemp("int8") / "fp32"
    model.export_onnx(folder)
    graph = onnx_ir.load(folder / GRAPH)
    onnx_ir.external_data.load_to_model(graph)
    return Case(model, graph, folder)


def flat(predictions: mh.Predictions, name: str) -> np.ndarray:
    """Return all logits of a head."""
    return np.concatenate([np.ravel(row) for row in predictions.logits[name]])


def by_hand(weight: np.ndarray) -> np.ndarray:
    """Return a weight rounded to 255 numbers per column."""
    columns = [np.round(column / abs(column).max() * 127) * abs(column).max() / 127 for column in weight.T]
    return np.stack(columns, axis=1)


def test_a_weight_is_rounded_by_column() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    weight[:, 2] = 0
    values, scales = quantized(weight)
    assert values.dtype == np.int8
    weight[:, 2] = 1e-30  # the formula by hand divides by the size
    np.testing.assert_allclose(values * scales, by_hand(weight), atol=1e-6)


@pytest.mark.parametrize("scheme", QUANTIZERS)
def test_logits_are_close_and_heads_stay_in_fp32(case: Case, scheme: str, tmp_path: Path) -> None:
    found = case.quantized(scheme).models
    products = len(backbone_products(case.graph))
    operations = [node.op_type for node in found[GRAPH].graph]
    integer = ("MatMulIntegerToFloat", "MatMulInteger", "DynamicQuantizeMatMul")
    assert products > 0
    assert sum(operations.count(name) for name in integer) == products
    weights = {value.name for value in found[GRAPH].graph.initializers.values() if value.dtype == onnx_ir.DataType.INT8}
    assert len(weights) >= products
    assert not any(name and name.startswith("heads.") for name in weights)
    exact, rounded = mh.OnnxPredictor(case.folder)(TEXTS), case.predictor(found, tmp_path)(TEXTS)
    for name in HEADS:
        before, after = (flat(one, name) for one in (exact, rounded))
        assert 0 < np.abs(after - before).mean() < (0.25 if SATURATES_INT8 else 0.05) * before.std()


def test_an_answer_does_not_depend_on_the_batch(case: Case, tmp_path: Path) -> None:
    predictor = case.predictor(case.quantized().models, tmp_path)
    together, short = predictor(TEXTS), [text for text in TEXTS if len(text.split()) < 4][:10]
    for text in short:
        alone, row = predictor([text]), TEXTS.index(text)
        for name in HEADS:
            np.testing.assert_allclose(alone.logits[name][0], together.logits[name][row], atol=2e-5)


def test_the_gate_compares_answers_and_metrics_of_every_kind(case: Case, tmp_path: Path) -> None:
    found = case.agreements(case.predictor(case.quantized().models, tmp_path))
    assert list(found) == list(HEADS)
    exact = mh.evaluate(case.model, RECORDS, text="text")
    for name, one in found.items():
        least = 0.9 if SATURATES_INT8 else 0.97
        assert one.agreement > least
        assert one.problem(name, least, refitted=False) is None
        for metric, (before, after) in one.metrics.items():
            assert before == pytest.approx(exact.metrics[name][metric], abs=1e-4)
            assert after == pytest.approx(before, abs=0.1)
    assert set(found["urgency"].record()["metrics"]) == {"accuracy", "log_loss"}
    assert set(found["age"].record()["metrics"]) == {"r2"}
    assert found["found"].items == sum(len(str(row["text"]).split()) for row in RECORDS)


def test_the_gate_rejects_a_broken_graph(case: Case, tmp_path: Path) -> None:
    models = case.quantized().models
    for name, value in models[GRAPH].graph.initializers.items():
        if value.dtype == onnx_ir.DataType.INT8 and value.const_value is not None:
            value.const_value = onnx_ir.tensor(np.zeros_like(value.const_value.numpy()), name=name)
    found = case.agreements(case.predictor(models, tmp_path))
    assert found["found"].agreement < 0.99
    problem = found["found"].problem("found", 0.99, refitted=False)
    assert problem is not None
    assert problem.startswith("Head 'found': quantized, it gives the answer in fp32 for 0.")
    for part in ("0.99 is the least", "entity_f1", "refit it (--refit)", "--min-agreement"):
        assert part in problem
    assert "--refit" not in str(found["found"].problem("found", 0.99, refitted=True))


def test_a_refit_brings_back_the_logits(case: Case, tmp_path: Path) -> None:
    """Features are moved by a constant matrix, as an error that is the same for all texts would."""
    exact = mh.OnnxPredictor(case.folder)(TEXTS)
    moved = case.quantized()
    for head in range(len(HEADS)):
        layer = head_layer(moved.models[GRAPH], head)
        assert layer is not None
        editor = Editor(moved.models[GRAPH], f"moved_{head}")
        shifted = editor.add(layer.node, "Mul", layer.x, editor.number(1.3))
        layer.node.replace_input_with(0, shifted)
    before = case.predictor(moved.models, tmp_path / "before")(TEXTS)
    linear = {name: place for place, name in enumerate(HEADS) if not case.model.heads[name].spec.hidden}
    found = refit(moved.models[GRAPH], case.graph, linear, case.batches(TEXTS))
    after = case.predictor(moved.models, tmp_path / "after")(TEXTS)
    assert list(found) == list(linear)
    for name in linear:
        wrong, left = (flat(one, name) - flat(exact, name) for one in (before, after))
        assert np.abs(left).mean() < 0.2 * np.abs(wrong).mean()
        assert found[name].after < 0.5 * found[name].before


@pytest.mark.parametrize("scheme", QUANTIZERS)
def test_a_refit_finds_the_heads_of_every_scheme(case: Case, scheme: str, tmp_path: Path) -> None:
    found = case.quantized(scheme, refit_to=TEXTS)
    linear = [name for name in HEADS if not case.model.heads[name].spec.hidden]
    assert list(found.refitted) == linear
    assert all(0 < one.after <= one.before for one in found.refitted.values())
    assert found.refitted["found"].items == sum(len(text.split()) for text in TEXTS)
    exact = mh.OnnxPredictor(case.folder)(TEXTS)
    plain, refitted = (
        case.predictor(models, tmp_path / place)(TEXTS)
        for place, models in (("plain", case.quantized(scheme).models), ("refitted", found.models))
    )
    for name in linear:
        before, after = (np.square(flat(one, name) - flat(exact, name)).mean() for one in (plain, refitted))
        assert after < 1.01 * before
