"""``manyheads export``, called as a person calls it, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

import manyheads as mh
from manyheads.cli import export_options
from manyheads.export import EXPORTERS
from tests.families import TEXTS
from tests.unit.cli.test_app import called


@pytest.fixture(scope="module")
def model(saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with one head that a stock class can express, and one that it cannot."""
    folder = tmp_path_factory.mktemp("models") / "model"
    headed = mh.HeadedModel.from_pretrained(saved("bert"))
    for name, pool in (("urgency", "cls"), ("topic", "mean")):
        headed.add_head(name, mh.Multiclass(labels=["a", "b"], reads=mh.Hidden(pool=pool))).trained = True
    headed.save_pretrained(folder)
    return folder


def test_one_head_goes_to_the_folder_itself(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("export", model, "--head", "urgency", "--out", tmp_path / "urgency") == 0
    assert "urgency: " in capsys.readouterr().out
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "urgency"), top_k=None)
    (own,) = mh.HeadedModel.from_pretrained(model).predict(TEXTS[:1])
    found = {entry["label"]: entry["score"] for entry in classify(TEXTS[:1])[0]}
    assert found == pytest.approx(own["urgency"].scores, abs=1e-5)


def test_all_heads_get_a_folder_each_and_errors_are_listed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("export", model, "--to", "transformers", "--out", tmp_path / "out", "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert list(result["exported"]) == ["urgency"]
    assert list(result["errors"]) == ["topic"]
    assert "reads pool='mean'" in result["errors"]["topic"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["urgency"]
    assert called("export", model, "--out", tmp_path / "out", "--overwrite") == 1
    assert "Not exported: Head 'topic': reads pool='mean'" in capsys.readouterr().out
    assert called("export", model, "--to", "sentence-transformers", "--out", tmp_path / "modules") == 0


def test_one_graph_has_all_heads_and_a_quantized_one_is_compared(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    cells = [{"note": text, "urgency": "a", "topic": "b"} for text in TEXTS]
    rows.write_text("\n".join(map(json.dumps, cells)), "utf-8")
    quantized = ["--quantize", "int8", "--data", rows, "--text", "note", "--refit", rows]
    out = tmp_path / "graph"
    assert called("export", model, "--to", "onnx", "--out", out, *quantized, "--min-agreement", 0) == 0
    assert "quantized: " in capsys.readouterr().out
    record = json.loads((out / "export.json").read_text("utf-8"))
    assert record["quantize"] == "int8"
    for name, head in record["heads"].items():
        assert head["largest_difference"] < 1e-4, name
        assert head["quantized"]["items"] == len(TEXTS)
        assert set(head["quantized"]["metrics"]) == {"accuracy", "log_loss"}
        assert head["refit"]["error_after"] <= head["refit"]["error_before"] * (1 + 1e-9)
    card = (out / "README.md").read_text("utf-8")
    assert f"{record['heads']['topic']['quantized']['agreement']:.4f}" in card
    assert list(mh.OnnxPredictor(out)(TEXTS[:1])[0]) == ["urgency", "topic"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--language-model"], "--language-model: is an option of --to onnx"),
        (["--to", "onnx", "--refit", "rows.csv"], "refit: is for quantized graphs"),
        (["--to", "onnx", "--quantize", "int8"], "needs data="),
        (["--to", "onnx", "--quantize", "int4", "--data", "rows.csv"], "'int4' is not among"),
        (["--head", "topic"], "Head 'topic': reads pool='mean'"),
        (["--head", "urgncy"], "did you mean 'urgency'?"),
        (["--to", "onyx"], "'onyx' is not among"),
    ],
)
def test_errors_are_one_line(
    model: Path, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("export", model, *arguments, "--out", tmp_path / "out") == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("manyheads: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_format() -> None:
    text = Path(export_options.__file__).read_text("utf-8")
    assert all(f"'{name}'" in text for name in EXPORTERS)
