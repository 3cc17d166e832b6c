"""A table of 64,000 rows whose scoring is killed ten times: every row once, and the bytes of an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import manyheads as mh
from tests.families import TEXTS

pytestmark = pytest.mark.real

ROWS, KILLS = 64_000, 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, saved: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    headed = mh.HeadedModel.from_pretrained(saved("bert"))
    headed.add_head("urgency", mh.Multiclass(["routine", "urgent"]))
    headed.add_head("hours", mh.Regression())
    rows = [{"note": text, "urgency": ("routine", "urgent")[at % 2], "hours": at} for at, text in enumerate(TEXTS * 5)]
    mh.train(headed, rows, text="note")
    headed.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def table() -> pa.Table:
    generator = random.Random(0)
    words = " ".join(TEXTS).split()
    notes = [" ".join(generator.choices(words, k=generator.randint(1, 40))) for _ in range(ROWS)]
    return pa.table({"id": range(ROWS), "note": notes})


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("out", ["out/", "scored{ending}"])
def test_a_killed_scoring_goes_on(tmp_path: Path, model: Path, table: pa.Table, ending: str, out: str) -> None:
    source, whole, killed = tmp_path / f"in{ending}", tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    if ending == ".csv":
        pa_csv.write_csv(table, source)
    else:
        pq.write_table(table, source)
    name = out.format(ending=ending)
    started = time.monotonic()
    assert command(model, source, f"{whole}/{name}").wait() == 0
    seconds = time.monotonic() - started
    generator, kills = random.Random(ending + out), 0
    while kills < KILLS:
        process = command(model, source, f"{killed}/{name}")
        try:
            process.wait(generator.uniform(0.3, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        kills += 1
    assert command(model, source, f"{killed}/{name}", "--overwrite").wait() == 0
    assert contents(killed) == contents(whole)
    ids = mh_table(killed / name.rstrip("/")).column("id").to_pylist()
    assert [int(one) for one in ids] == list(range(ROWS))


def command(model: Path, source: Path, out: str, *more: str) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-m", "manyheads", "predict", str(model), str(source), "--out", out, *more]
    return subprocess.Popen(call, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def mh_table(path: Path) -> pa.Table:
    from manyheads.data.tables.table import read_table

    return read_table(path).to_arrow()
