"""What a worker of a cluster does, without a cluster."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import manyheads as mh
from manyheads.distributed.ray_parts import _answered
from manyheads.distributed.ray_resources import Workers, workers_of
from manyheads.distributed.worker import ModelSource, Worker, WorkerSettings
from manyheads.inference import ScoringSettings
from manyheads.scoring.plan import Part

TEXTS = ["a short text", "", "another text that is longer", None]


@pytest.fixture(scope="module")
def folder(saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    for name, labels in {"kind": ["a", "b"], "size": [1, 2, 3]}.items():
        model.add_head(name, mh.Multiclass(labels=labels)).trained = True
    target = tmp_path_factory.mktemp("models") / "model"
    model.save_pretrained(target)
    return target


def settings_of(folder: Path, long_text: str = "truncate", max_length: int | None = None) -> WorkerSettings:
    scoring = ScoringSettings(max_length, long_text, "float32")
    return WorkerSettings.of(ModelSource.of(folder, False), ["text"], None, scoring, False, "the table")


def test_a_worker_that_was_sent_its_settings_answers_as_the_model_does(folder: Path) -> None:
    rows = pa.table({"id": [1, 2, 3, 4], "text": pa.array(TEXTS, pa.string())})
    settings = settings_of(folder)
    answered = Worker(pickle.loads(pickle.dumps(settings)))(rows)
    expected = mh.HeadedModel.from_pretrained(folder).predict(TEXTS).to_arrow()
    assert answered.schema == pa.schema([*rows.schema, *settings.added])
    assert answered.column("size_label").to_pylist() == expected.column("size_label").to_pylist()
    np.testing.assert_allclose(answered.column("kind_score"), expected.column("kind_score"), atol=1e-6)
    assert answered.column("text_flag").to_pylist() == [None, "empty", None, "empty"]


def test_a_bad_row_is_an_error_of_its_own(folder: Path) -> None:
    answered = Worker(settings_of(folder, "error", 6))(pa.table({"text": ["short", "long " * 30, "short"]}))
    labels, errors = answered.column("kind_label").to_pylist(), answered.column("error").to_pylist()
    assert [label is None for label in labels] == [False, True, False]
    assert errors[0] is errors[2] is None
    assert "more tokens than the limit" in errors[1]


def test_a_worker_that_finds_another_model_does_not_answer(folder: Path, saved: Callable[[str], Path]) -> None:
    settings = settings_of(folder)
    other = WorkerSettings(settings.source, settings.fingerprint.replace('"kind"', '"other"'), settings.answers)
    with pytest.raises(mh.errors.WrongBackboneError, match="another model on this machine"):
        Worker(other)


def test_a_model_in_memory_cannot_be_sent(folder: Path) -> None:
    with pytest.raises(mh.errors.ConfigError, match=r"save it with model\.save_pretrained"):
        mh.distributed.score_ray("in.parquet", mh.HeadedModel.from_pretrained(folder), "out")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (["txt", "id"], mh.errors.MissingColumnError, "did you mean 'txt'"),
        (["text", "kind_score"], mh.errors.DataError, "already has the columns 'kind_score'"),
    ],
)
def test_columns_are_checked_before_any_work(
    folder: Path, columns: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        settings_of(folder).check(columns, "the table")


@pytest.mark.parametrize(
    ("nodes", "wanted", "expected"),
    [
        ([{"CPU": 2.0}], None, Workers(1, 2)),
        ([{"CPU": 2.0}], 2, Workers(2, 1)),
        ([{"CPU": 16.0}, {"CPU": 8.0}, {"memory": 1.0}], None, Workers(6, 4)),
        ([{"CPU": 32.0, "GPU": 4.0}, {"CPU": 8.0}], None, Workers(4, 4, 1)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 3, Workers(3, 1)),
        ([{"CPU": 4.0, "GPU": 4.0}], None, Workers(4, 1, 1)),
        ([{"CPU": 8.0, "GPU": 4.0}], 2, Workers(2, 4, 1)),
    ],
)
def test_workers_fill_the_cluster(nodes: list[dict[str, float]], wanted: int | None, expected: Workers) -> None:
    assert workers_of(nodes, wanted) == expected


def test_more_workers_than_cores_are_an_error() -> None:
    with pytest.raises(mh.errors.ConfigError, match="between 1 and the cluster's 2 cores, got 3"):
        workers_of([{"CPU": 2.0}], 3)


@pytest.mark.parametrize(("call", "package"), [("score_ray", "ray"), ("score_spark", "pyspark.sql.pandas")])
def test_a_missing_package_is_named(call: str, package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(mh.errors.MissingExtraError, match=r"pip install 'manyheads\["):
        getattr(mh.distributed, call)("in.parquet", folder, *["out"] * (call == "score_ray"))


class SlowFirst:
    """Stands for Ray: references are the rows; the first worker is never done before it is waited for."""

    def __init__(self) -> None:
        self.given: list[tuple[str, int]] = []

    def wait(self, references: list[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        slow = [reference for reference in references if ("slow", reference) in self.given]
        return [reference for reference in references if reference not in slow], slow

    def get(self, reference: int) -> int:
        return -reference


class Actor:
    def __init__(self, name: str, ray: SlowFirst) -> None:
        self.answer, self.name, self.ray = self, name, ray

    def remote(self, rows: int) -> int:
        self.ray.given.append((self.name, rows))
        return rows


def test_parts_stay_in_order_and_idle_workers_get_the_next() -> None:
    ray = SlowFirst()
    parts = ((Part(0, number, 0, 1), number) for number in range(9))
    answered = list(_answered(ray, [Actor("slow", ray), Actor("fast", ray)], parts))  # type: ignore[arg-type]
    assert [(part.number, rows) for part, rows in answered] == [(number, -number) for number in range(9)]
    assert [name for name, _ in ray.given].count("slow") == 1
