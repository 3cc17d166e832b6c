"""An export to ONNX is whole or absent, gives the model's logits, and says nothing of this machine."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import pytest
import torch

import manyheads as mh
from manyheads.export.onnx import graphs, write
from manyheads.export.onnx.parity import Parity
from manyheads.runtime import folders
from tests.families import BY_NAME, TEXTS, tokenizer_for
from tests.hostile.test_exports import contents, die, killed

LABELS = ["low", "high"]


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    """A GPT-2 with heads whose names an input of the graph and the language model have too."""
    family = BY_NAME["gpt2"]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    for name in ("input_ids", "lm_logits", "ärztliche Dringlichkeit"):
        head = model.add_head(name, mh.Multiclass(labels=LABELS))
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(len(name))
            head.output.weight.normal_(std=0.3)
        head.trained = True
    return model


@pytest.fixture(scope="module")
def exported(model: mh.HeadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "graph"
    model.export_onnx(folder, language_model=True)
    return folder


@pytest.fixture(scope="module")
def graph_of_all(model: mh.HeadedModel) -> graphs.Graphs:
    return graphs.traced_graphs(model.core, model.tokenizer, list(model.heads), language_model=False)


@pytest.fixture
def traced(graph_of_all: graphs.Graphs, monkeypatch: pytest.MonkeyPatch) -> graphs.Graphs:
    """The graph of all heads, which exports take instead of tracing it again."""
    monkeypatch.setattr(write, "traced_graphs", lambda *_: graph_of_all)
    return graph_of_all


def test_names_that_the_graph_uses_itself_are_heads_as_any_other(model: mh.HeadedModel, exported: Path) -> None:
    predictor = mh.OnnxPredictor(exported)
    assert predictor.heads == tuple(model.heads)
    own, found = model.predict(TEXTS), predictor(TEXTS)
    for name in model.heads:
        np.testing.assert_allclose(found.logits[name], own.logits[name], atol=1e-4, err_msg=name)
    assert predictor.lm_logits(TEXTS)[0].shape[1] == model.core.backbone.vocabulary_size


def test_the_record_the_card_and_the_files_agree(
    model: mh.HeadedModel, exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((exported / "export.json").read_text("utf-8"))
    assert record["to"] == "onnx"
    assert list(record["heads"]) == list(model.heads)
    assert max(one["largest_difference"] for one in record["heads"].values()) == record["largest_difference"] < 1e-4
    assert set(contents(exported)) == set(record["files"])
    card = (exported / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in card for name in [*model.heads, *set(record["files"]) - {"README.md"}])
    monkeypatch.chdir(exported)
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(compile(snippet, "README.md", "exec"), {})
    assert "ärztliche Dringlichkeit Prediction(label=" in capsys.readouterr().out


def test_no_file_names_a_place_of_this_machine(exported: Path) -> None:
    packages = Path(str(importlib.util.find_spec("torch").origin)).parents[1]  # type: ignore[union-attr]
    for name, content in contents(exported).items():
        for place in (Path(mh.__file__).parent, packages, exported.parent, Path.home()):
            assert str(place).encode() not in content, (name, place)


def test_an_untrained_head_is_named_and_nothing_is_written(model: mh.HeadedModel, tmp_path: Path) -> None:
    other = mh.HeadedModel.wrap(model.backbone, model.tokenizer)
    other.add_head("ready", mh.Multiclass(labels=LABELS)).trained = True
    other.add_head("raw", mh.Multiclass(labels=LABELS))
    other.add_head("reader", mh.Multiclass(labels=LABELS, reads=mh.Output("raw"))).trained = True
    with pytest.raises(mh.errors.ExportError, match=r"^Head 'raw': is not trained, .*; train it first"):
        other.export_onnx(tmp_path / "out")
    with pytest.raises(mh.errors.ExportError, match=r"^Head 'reader': reads 'raw', which is not trained"):
        other.export_onnx(tmp_path / "out", heads=["reader"])
    with pytest.raises(mh.errors.UnknownHeadError, match="did you mean 'ready'"):
        other.export_onnx(tmp_path / "out", heads=["redy"])
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_gives_other_logits_is_not_kept(
    model: mh.HeadedModel, traced: graphs.Graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (graph,) = traced.models.values()
    weights = [value for value in graph.graph.initializers.values() if len(value.shape or ()) == 2]
    largest = max(weights, key=lambda value: value.const_value.size)  # type: ignore[union-attr]
    assert largest.const_value is not None
    monkeypatch.setattr(largest, "const_value", onnx_ir.tensor(largest.const_value.numpy() * np.float32(1.01)))
    with pytest.raises(mh.errors.ExportError, match=r"^Head 'input_ids': the graph gives logits that differ by"):
        model.export_onnx(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class Unopened:
    """Takes the place of the predictor where a process was forked, which ONNX Runtime's threads do not survive."""

    def __init__(self, *_: object, **__: object) -> None:
        """Open nothing."""


# Moments of an export: when the graph is written, when all is written, and amid the replacement.
MOMENTS: Mapping[str, tuple[Any, str]] = {
    "graph": (write, "write_layout"),
    "sync": (folders, "_sync_tree"),
    "replace": (folders, "_move_other_files"),
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_export_leaves_the_old_one_or_the_new_one(
    model: mh.HeadedModel, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, (name, *_) = tmp_path / "out", model.heads
    model.export_onnx(out)
    before = contents(out)
    monkeypatch.setattr(write, "OnnxPredictor", Unopened)
    monkeypatch.setattr(write, "compare", lambda *_: {name: Parity(0.0, 1.0, 0.0)})

    def run() -> None:
        owner, function = MOMENTS[moment]
        setattr(owner, function, die)
        model.export_onnx(out, heads=[name], overwrite=True)

    assert killed(run)
    after = contents(out)
    assert after == before if moment != "replace" else list(json.loads(after["export.json"])["heads"]) == [name]
    model.export_onnx(out, heads=[name], overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_not_installed_is_named(
    model: mh.HeadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else found(name, *rest)
    )
    with pytest.raises(mh.errors.MissingExtraError, match=rf"needs '{package}'; pip install 'manyheads\[onnx\]'"):
        model.export_onnx(tmp_path / "out")
