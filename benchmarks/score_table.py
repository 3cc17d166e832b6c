"""Scoring tables in parts, against the same predictor on the same texts in memory, and what either needs of memory.

``python -m benchmarks.score_table``: MiniLM with two heads, 1 and 10 times the rows, CSV and Parquet, alternating in
one process. The rate is that of the whole call: counting rows, fingerprints and files included. Seconds of the
processor are those of all threads; beside other work on the machine, their ratio is the steadier one.

``python -m benchmarks.score_table memory``: the growth of the largest memory of a process above that with the loaded
model, for 5 and 50 times the rows with a random BERT of two layers.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

ROWS = 1_000
# Times the rows -> repeats.
REPEATS = {1: 5, 10: 1}
GROWTH = (5, 50)
WAYS = ("memory", "csv", "parquet")


def rates() -> None:
    """Print the rate of each way."""
    import manyheads as mh
    from benchmarks.data import minilm

    shown = Table("rows", "way", "rows/s", "of memory's", "by processor seconds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(minilm(), folder)
        predictor = mh.Predictor(mh.HeadedModel.from_pretrained(folder / "model"), batch_tokens=2048)
        for times, repeats in REPEATS.items():
            write_tables(folder, ROWS * times)
            found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
            for _ in range(repeats):
                for way, values in found.items():
                    values.append(timed(predictor, way, folder))
            for way in WAYS:
                rate = ROWS * times / statistics.median(seconds for seconds, _ in found[way])
                pairs = list(zip(found["memory"], found[way], strict=True))
                ratios = [statistics.median(one[at] / other[at] for one, other in pairs) for at in (0, 1)]
                shown.add_row(f"{ROWS * times:,}", way, f"{rate:,.0f}", *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=120).print(shown)


def memory() -> None:
    """Print what each way needs of memory."""
    shown = Table("rows", "way", "growth of the peak (MB)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(tiny(folder), folder)
        for times in GROWTH:
            write_tables(folder, ROWS * times)
            for way in WAYS:
                call = [sys.executable, "-m", "benchmarks.score_table", "grow", way, name]
                output = subprocess.run(call, check=True, capture_output=True, text=True).stdout
                shown.add_row(f"{ROWS * times:,}", way, f"{int(output.splitlines()[-1]) / 1e6:,.0f}")
    Console(width=120).print(shown)


def grow(way: str, folder: Path) -> None:
    """Score once, and print the growth of the largest memory."""
    import manyheads as mh

    predictor = mh.Predictor(mh.HeadedModel.from_pretrained(folder / "model"), batch_tokens=2048)
    predictor(["warm"] * 64)
    before = peak()
    timed(predictor, way, folder)
    print(peak() - before)


def timed(predictor: Any, way: str, folder: Path) -> tuple[float, float]:
    """Score all rows, and return the seconds, and those of the processor."""
    texts = pq.read_table(folder / "in.parquet").column("text").to_pylist() if way == "memory" else []
    with tempfile.TemporaryDirectory() as out:
        started, used = time.perf_counter(), time.process_time()
        if way == "memory":
            predictor(texts).to_arrow()
        else:
            predictor.score_table(folder / f"in.{way}", Path(out) / "out", text="text")
        return time.perf_counter() - started, time.process_time() - used


def peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tiny(folder: Path) -> str:
    """Save a random BERT of two layers with MiniLM's tokenizer, and return where it lies."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from benchmarks.data import minilm

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(**sizes)).save_pretrained(folder / "tiny")
    AutoTokenizer.from_pretrained(minilm()).save_pretrained(folder / "tiny")
    return str(folder / "tiny")


def train(backbone: str, folder: Path) -> None:
    """Save a backbone with two heads."""
    import manyheads as mh
    from benchmarks.data import HEADS, draw

    rows, _ = draw()
    model = mh.HeadedModel.from_pretrained(backbone)
    for head, spec in mh.infer_heads(rows, list(HEADS)).items():
        model.add_head(head, spec)
    mh.train(model, rows, text="text")
    model.save_pretrained(folder / "model")


def write_tables(folder: Path, count: int) -> None:
    """Write a table of distinct texts."""
    from benchmarks.data import draw

    texts = draw(2000, 1000)[1].column("text").to_pylist()
    table = pa.table({"id": range(count), "text": [f"{texts[row % len(texts)]} ({row})" for row in range(count)]})
    pa_csv.write_csv(table, folder / "in.csv")
    pq.write_table(table, folder / "in.parquet")


if __name__ == "__main__":
    command, sys.argv[1:] = sys.argv[1:], []
    if command[:1] == ["grow"]:
        grow(command[1], Path(command[2]))
    elif command == ["memory"]:
        memory()
    else:
        rates()
