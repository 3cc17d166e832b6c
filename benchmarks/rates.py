"""``Fork``, ``LoRA`` and ``Full`` at other learning rates and numbers of epochs than their defaults.

Run with ``python -m benchmarks.rates PATH HEAD[,HEAD] METHOD --rates 2e-5,1e-4 --epochs 3,6 [--rows 2000] [--test 1000]
[--seeds 1] [--text text]``, where PATH is a table, or a folder with ``train.jsonl`` and ``test.jsonl``. All read
MiniLM. Each seed draws other rows; the table shows means over the seeds.
"""

from __future__ import annotations

import argparse
import os
from itertools import product
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import transformers

import manyheads as mh
from benchmarks.data import rows_of
from benchmarks.methods import measured

METHODS: dict[str, type[mh.Fork | mh.LoRA | mh.Full]] = {"Fork": mh.Fork, "LoRA": mh.LoRA, "Full": mh.Full}


def numbers(text: str) -> list[float]:
    """Return the numbers of a list with commas."""
    return [float(number) for number in text.split(",")]


def main() -> None:
    """Print one line per run, and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("heads")
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--rates", type=numbers, default="2e-5,5e-5,1e-4,3e-4")
    parser.add_argument("--epochs", type=numbers, default="3,6")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--text", default="text")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    lines = []
    for rate, epochs in product(arguments.rates, arguments.epochs):
        found, seconds = [], []
        for seed in range(arguments.seeds):
            train, test = rows_of(arguments.path, arguments.rows, arguments.test, seed)
            specs = mh.infer_heads(pa.concat_tables([train, test]), arguments.heads.split(","))
            method = METHODS[arguments.method](lr=rate, epochs=epochs)
            values, result = measured(method, specs, arguments.text, train, test, seed)
            found.append(list(values.values()))
            seconds.append(result.seconds)
            chosen = [note for note in result.notes if "tuned weights" in note]
            print(f"{rate:g}, {epochs:g}, seed {seed}: {values}, {result.seconds:.0f} s", *chosen, flush=True)
        means = [f"{metric:.3f} | {loss:.3f}" for metric, loss in np.mean(found, axis=0)]
        lines.append(f"| {rate:g} | {epochs:g} | {' | '.join(means)} | {np.median(seconds):.0f} |")
    columns = [f"{name}: {spec.main_metric} | log loss" for name, spec in specs.items()]
    print(f"\n| lr | epochs | {' | '.join(columns)} | seconds |\n|{'---|' * (2 * len(specs) + 3)}", *lines, sep="\n")


if __name__ == "__main__":
    main()
