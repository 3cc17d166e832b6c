"""Scoring tables in parts, against the same predictor on the same texts in memory, and what either needs of memory.

``python -m benchmarks.score_table``: MiniLM with two heads, 1 and 10 times the rows, CSV and Parquet, each in a process
of its own, alternating. The tables' rate is that of the whole call: counting rows, fingerprints and files included;
loading the model is not. ``python -m benchmarks.score_table tiny``: 5 and 50 times the rows with a random BERT of two
layers, which is so fast that reading, writing and bookkeeping show, and memory has many parts to grow in.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

ROWS = 1_000
# Times the rows -> repeats.
REPEATS, TINY_REPEATS = {1: 3, 10: 1}, {5: 2, 50: 1}
WAYS = ("memory", "csv", "parquet")


def main(backbone: str, repeats: Mapping[int, int]) -> None:
    """Print the rates and the memory of each way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(backbone or tiny(folder), folder)
        shown = Table("rows", "way", "rows/s", "of memory's", "peak above the loaded model (MB)")
        for times, count in repeats.items():
            write_tables(folder, ROWS * times)
            found = measured(folder, ROWS * times, count)
            for way in WAYS:
                ratio = statistics.median(a / b for (a, _), (b, _) in zip(found[way], found["memory"], strict=True))
                rate, peak = (statistics.median(values) for values in zip(*found[way], strict=True))
                shown.add_row(f"{ROWS * times:,}", way, f"{rate:,.0f}", f"{ratio:.2f}", f"{peak / 1e6:,.0f}")
        Console(width=120).print(shown)


def tiny(folder: Path) -> str:
    """Save a random BERT of two layers with MiniLM's tokenizer, and return where it lies."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

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


def measured(folder: Path, rows: int, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Return rows per second and the peak of memory of each way, once per repeat, alternating."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way, values in found.items():
            call = [sys.executable, "-m", "benchmarks.score_table", "run", way, str(folder)]
            output = subprocess.run(call, check=True, capture_output=True, text=True).stdout
            seconds, peak = json.loads(output.splitlines()[-1])
            values.append((rows / seconds, peak))
    return found


def run(way: str, folder: Path) -> None:
    """Score once, and print the seconds and the growth of the largest memory."""
    import manyheads as mh

    predictor = mh.Predictor(mh.HeadedModel.from_pretrained(folder / "model"), batch_tokens=2048)
    texts = pq.read_table(folder / "in.parquet").column("text").to_pylist() if way == "memory" else []
    predictor(["warm"] * 64)
    before = peak()
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        if way == "memory":
            predictor(texts).to_arrow()
        else:
            predictor.score_table(folder / f"in.{way}", Path(out) / "out", text="text")
        seconds = time.perf_counter() - started
    print(json.dumps([seconds, peak() - before]))


def peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1:] == ["tiny"]:
        sys.argv = sys.argv[:1]
        main("", TINY_REPEATS)
    else:
        from benchmarks.data import minilm

        main(minilm(), REPEATS)
