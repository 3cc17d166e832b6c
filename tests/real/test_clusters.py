"""Ray and Spark on this machine, two workers each: the rows, their order and their answers are those in memory.

CI installs neither package, so these tests are run by ``make test-real``. Spark needs Java too.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import manyheads as mh
from manyheads.cli.app import app
from tests.docs.samples import triage_table

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]
ROWS = 20_000  # three parts
TEXTS = [str(row["note"]) for row in triage_table()]


@pytest.fixture(scope="module")
def model(families_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.families import BY_NAME, save_family

    folder = tmp_path_factory.mktemp("model") / "model"
    headed = mh.HeadedModel.from_pretrained(save_family(BY_NAME["bert"], families_dir / "bert-of-clusters"))
    for name, spec in mh.infer_heads(triage_table(), ["urgency"]).items():
        headed.add_head(name, spec)
    mh.train(headed, triage_table(), text="note", method=mh.Frozen(cache=None, dtype="float32"), out=folder)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "notes.parquet"
    notes = [None if row == 77 else f"{TEXTS[row % len(TEXTS)]} {row}" for row in range(ROWS)]
    pq.write_table(pa.table({"id": list(range(ROWS)), "note": notes}), path)
    return path


@pytest.fixture(scope="module")
def expected(model: Path, table: Path) -> pa.Table:
    """The table as it is scored in memory."""
    rows = pq.read_table(table)
    return mh.HeadedModel.from_pretrained(model).predict(rows.column("note").to_pylist()).to_arrow()


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    found = pytest.importorskip("ray", reason="Ray is not installed: pip install 'manyheads[ray]'")
    # Two for workers, and one for the tasks in which Ray Data reads, filters and writes.
    found.init(num_cpus=3, object_store_memory=200 * 2**20, include_dashboard=False, log_to_driver=False)
    yield found
    found.shutdown()


def kill_one(busy: str) -> Callable[[], int | None]:
    """Kill the first Ray worker whose process shows that it is ``busy``; the returned function says which it was."""
    killed: list[int] = []

    def watch() -> None:
        until = time.monotonic() + 300
        while not killed and time.monotonic() < until:
            for process in psutil.Process().children(recursive=True):
                try:
                    if not killed and any(busy in word for word in process.cmdline()):
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)
                except (psutil.Error, OSError):
                    continue

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    return lambda: killed[0] if killed else None


def folder_of_parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def check_same(scored: pa.Table, expected: pa.Table) -> None:
    assert scored.column("id").to_pylist() == list(range(ROWS))
    assert scored.column("urgency_label").to_pylist() == expected.column("urgency_label").to_pylist()
    np.testing.assert_allclose(scored.column("urgency_score"), expected.column("urgency_score"), atol=1e-5)
    assert [row for row, flag in enumerate(scored.column("text_flag").to_pylist()) if flag] == [77]
    assert scored.column("error").null_count == ROWS


def test_a_path_has_the_bytes_of_one_process_though_a_worker_is_killed(
    ray: Any, model: Path, table: Path, expected: pa.Table, tmp_path: Path
) -> None:
    mh.Predictor(mh.HeadedModel.from_pretrained(model)).score_table(table, tmp_path / "here")
    killed = kill_one("ray::Worker.answer")
    summary = mh.distributed.score_ray(table, model, tmp_path / "there", workers=2)
    assert killed() is not None
    assert (summary.rows, summary.empty, summary.errors, summary.failures) == (ROWS, 1, 0, {})
    assert folder_of_parts(tmp_path / "there") == folder_of_parts(tmp_path / "here")
    sorted((tmp_path / "there").glob("*.parquet"))[1].unlink()  # as if the first run had been killed
    command = ["predict", str(model), str(table), "--out", str(tmp_path / "there"), "--engine", "ray", "--workers", "2"]
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0
    assert f"{ROWS - 8192:,} of them by an earlier run" in again.output
    assert folder_of_parts(tmp_path / "there") == folder_of_parts(tmp_path / "here")
    check_same(pa.concat_tables(map(pq.read_table, sorted((tmp_path / "there").glob("*.parquet")))), expected)


def test_a_dataset_has_the_answers_of_one_process_though_a_worker_is_killed(
    ray: Any, model: Path, table: Path, expected: pa.Table, tmp_path: Path
) -> None:
    dataset = ray.data.read_parquet(str(table), override_num_blocks=8)
    killed = kill_one("ray::MapWorker(MapBatches(Worker)).submit")
    summary = mh.distributed.score_ray(dataset, model, tmp_path / "there", workers=2)
    assert killed() is not None
    assert (summary.rows, summary.empty, summary.errors) == (ROWS, 1, 0)
    check_same(pa.concat_tables(map(pq.read_table, sorted((tmp_path / "there").glob("*.parquet")))), expected)


def test_a_dataset_goes_on_from_checkpoints_of_ray(ray: Any, model: Path, table: Path, tmp_path: Path) -> None:
    rows = pq.read_table(table)
    for name, part in {"some": rows.slice(0, 6_000), "more": rows.slice(0, 9_000)}.items():
        pq.write_table(part, tmp_path / f"{name}.parquet")
    context = ray.data.DataContext.get_current()
    context.checkpoint_config = ray.data.checkpoint.CheckpointConfig(
        id_column="id", checkpoint_path=str(tmp_path / "checkpoints"), delete_checkpoint_on_success=False
    )
    try:
        for name in ("some", "more"):
            dataset = ray.data.read_parquet(str(tmp_path / f"{name}.parquet"))
            summary = mh.distributed.score_ray(dataset, model, tmp_path / "out", workers=1)
    finally:
        context.checkpoint_config = None
    assert summary.rows == 9_000
    files = [pq.read_table(path).column("id").to_pylist() for path in (tmp_path / "out").glob("*.parquet")]
    assert sorted(map(len, files)) == [3_000, 6_000]
    assert sorted(row for ids in files for row in ids) == list(range(9_000))


def test_another_model_at_the_path_of_a_worker_is_an_error(ray: Any, model: Path, tmp_path: Path) -> None:
    from manyheads.distributed.ray_parts import worker_errors
    from manyheads.distributed.worker import ModelSource, Worker, WorkerSettings
    from manyheads.inference import ScoringSettings

    there = shutil.copytree(model, tmp_path / "model")
    settings = WorkerSettings.of(ModelSource(str(there)), ["note"], None, ScoringSettings(), False, "notes")
    changed = mh.HeadedModel.from_pretrained(there)
    changed.heads["urgency"].output.weight.data += 1
    changed.save_pretrained(there, overwrite=True)
    worker = ray.remote(Worker).remote(settings)
    with pytest.raises(mh.errors.ClusterError, match="another model on this machine"), worker_errors(ray):
        ray.get(worker.answer.remote(pa.table({"note": ["cough"], "error": [None]})))


def test_spark_has_the_answers_of_one_process(
    model: Path, table: Path, expected: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="PySpark is not installed: pip install 'manyheads[spark]'")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    spark = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        notes = spark.read.parquet(str(table)).repartition(4)
        scored = mh.distributed.score_spark(notes, str(model)).orderBy("id").toArrow()
        rejected = mh.distributed.score_spark(notes, str(model), long_text="error", max_length=4).toArrow()
    finally:
        spark.stop()
    check_same(scored, expected)
    assert rejected.num_rows == ROWS
    assert rejected.column("error").null_count == 1  # the row without a text
