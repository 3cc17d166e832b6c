"""Models and numbers in MLflow, in a store of files."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

import manyheads as mh
from tests.families import TEXTS

# MLflow compares the names of columns with a range, and warns of type hints in its own code on import.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint"),
]

Saved = Callable[[str], Path]
ROWS = [
    {"note": text, "urgency": ["low", "high"][place % 2], "age": place * 1.5} for place, text in enumerate(TEXTS * 2)
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.chdir(tmp_path)
    with mlflow.start_run():
        yield tmp_path / "mlruns"


def trained(saved: Saved) -> tuple[mh.HeadedModel, mh.TrainResult]:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    model.add_head("age", mh.Regression())
    return model, mh.train(model, ROWS, text="note", method=mh.Frozen(cache=None), eval_fraction=0.25)


def run_data() -> Any:
    run = mlflow.active_run()
    assert run is not None
    return mlflow.get_run(run.info.run_id).data


def artifact(name: str) -> str:
    run = mlflow.active_run()
    assert run is not None
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name)).read_text("utf-8")


ELSEWHERE = """
import sys, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = pandas.read_json(sys.stdin, orient="split")
assert "manyheads.model" in sys.modules
model.predict(table).to_json(sys.stdout, orient="split", double_precision=15)
"""


def test_a_logged_model_answers_in_another_process_as_predict_does(store: Path, saved: Saved) -> None:
    model, _ = trained(saved)
    for name, spec in {
        "grade": mh.Ordinal(labels=[1, 2, 3]),
        "symptoms": mh.MultiLabel(labels=["pain", "fever"]),
        "entities": mh.Tokens(labels=["drug"]),
    }.items():
        model.add_head(name, spec).trained = True
    info = mh.mlflow.log_model(model, name="triage")
    expected = model.predict([*TEXTS, ""]).to_pandas()
    assert info.signature.inputs.input_names() == ["note"]
    assert info.signature.outputs.input_names() == list(expected)
    table = pd.DataFrame({"note": [*TEXTS, None], "other": 1}, index=range(10, 11 + len(TEXTS)))
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, info.model_uri],
        input=table.to_json(orient="split"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["columns"] == list(expected)
    assert found["index"] == list(table.index)
    here = json.loads(expected.to_json(orient="split", double_precision=15))
    assert found["data"] == here["data"]
    names = {path.name for path in store.rglob("*") if path.is_file()}
    assert "model_code.py" in names
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt"))}


def test_pairs_of_texts_and_unknown_columns(store: Path, saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("same", mh.Multiclass(labels=["no", "yes"])).trained = True
    with pytest.raises(mh.errors.DataError, match=r"name it with text="):
        mh.mlflow.log_model(model)
    info = mh.mlflow.log_model(model, text=["left", "right"])
    table = pd.DataFrame({"left": TEXTS, "right": TEXTS[::-1]})
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    expected = model.predict(list(zip(TEXTS, TEXTS[::-1], strict=True))).to_pandas()
    pd.testing.assert_frame_equal(loaded.predict(table), expected)
    with pytest.raises(mlflow.MlflowException, match="right"):
        loaded.predict(table[["left"]])


def test_the_numbers_of_a_training_are_logged_by_head(store: Path, saved: Saved) -> None:
    _, result = trained(saved)
    history = {"urgency": [{"epoch": 0.0, "accuracy": 0.5}, {"epoch": 1.0, "accuracy": 0.75}], "age": []}
    undefined = {**result.metrics, "age": {**result.metrics["age"], "r2": float("nan")}}
    mh.mlflow.log_result(dataclasses.replace(result, metrics=undefined, history=history))
    data = run_data()
    assert data.metrics["urgency.accuracy"] == result.metrics["urgency"]["accuracy"]
    assert data.metrics["age.mean_absolute_error"] == result.metrics["age"]["mean_absolute_error"]
    assert data.metrics["urgency.training_rows"] == result.rows["urgency"]["train"]
    assert "age.r2" not in data.metrics, "an undefined number is not logged"
    run = mlflow.active_run()
    assert run is not None
    epochs = mlflow.MlflowClient().get_metric_history(run.info.run_id, "urgency.epoch.accuracy")
    assert [(metric.step, metric.value) for metric in epochs] == [(0, 0.5), (1, 0.75)]
    assert data.params["urgency.reads"] == result.reads["urgency"]
    assert float(data.params["urgency.l2"]) == pytest.approx(result.chosen["urgency"]["l2"])
    assert data.tags["manyheads.lm_unchanged"] == "true"
    assert artifact("notes.txt").splitlines() == result.notes


def test_a_report_is_logged_as_metrics_and_files(store: Path, saved: Saved) -> None:
    model, _ = trained(saved)
    report = mh.evaluate(model, ROWS, text="note")
    mh.mlflow.log_report(report, name="held out")
    metrics = run_data().metrics
    for head, values in report.metrics.items():
        for name, value in values.items():
            assert np.isnan(value) or metrics[f"{head}.{name}"] == value
    assert json.loads(artifact("held out.json"))["heads"]["urgency"]["rows"] == len(ROWS)
    assert artifact("held out.html").startswith("<!doctype html>")


def test_without_mlflow_the_extra_is_named(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.pyfunc", None)
    with pytest.raises(mh.errors.MissingExtraError, match=r"pip install 'manyheads\[mlflow\]'"):
        mh.mlflow.log_model(mh.HeadedModel.from_pretrained(saved("gpt2")))
