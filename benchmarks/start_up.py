"""Start-up: ``manyheads predict`` of one row, whole process, against a bare script on the same model.

Run with ``python -m benchmarks.start_up [--repeats 9]``. The model is MiniLM with two heads, trained on 300 task
statements. The bare script imports torch and transformers, loads MiniLM with ``AutoModel`` and ``AutoTokenizer``, and
runs one text. Processes alternate; medians of wall time, and of processor time, which other work on the machine moves
less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BARE = """
import sys
import torch
from transformers import AutoModel, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModel.from_pretrained(sys.argv[1]).eval()
with torch.inference_mode():
    model(**tokenizer([sys.argv[2]], return_tensors="pt"))
"""
TEXT = "Determine schedules, sequences, and assignments for work activities."
# What `manyheads` runs, with this interpreter.
COMMAND = [sys.executable, "-m", "manyheads"]


def make(folder: str) -> None:
    """Train two heads on MiniLM and save the model."""
    import manyheads as mh
    from benchmarks.data import HEADS, cut, minilm
    from manyheads.demo.samples import occupation_tasks

    model, rows = mh.HeadedModel.from_pretrained(minilm()), cut(occupation_tasks(), 300, 0)[0]
    for head in HEADS:
        model.add_head(head, mh.Multiclass(labels=sorted(set(rows.column(head).to_pylist()))))
    mh.train(model, rows, text="text", method=mh.Frozen(cache=None))
    model.save_pretrained(folder)


@dataclass(frozen=True)
class Run:
    """Seconds of one process: on the clock, and on the processors."""

    wall: float
    processor: float


def run(command: Sequence[str]) -> Run:
    """Run a process to its end."""
    started, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    wall, after = time.perf_counter() - started, os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return Run(wall, used)


def alternated(ways: Mapping[str, Sequence[str]], repeats: int) -> dict[str, list[Run]]:
    """Run every command in turn, the order turned round each time; the first round is not counted."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name in list(ways) if repeat % 2 else list(reversed(ways)):
            runs[name].append(run(ways[name]))
    return {name: found[1:] for name, found in runs.items()}


def main() -> None:
    """Measure, or make the model, which is a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--make", metavar="FOLDER", help="only train the model")
    options = parser.parse_args()
    if options.make:
        make(options.make)
        return
    measure(options.repeats)


def measure(repeats: int) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as place:
        model, one, out = (str(Path(place) / name) for name in ("model", "one.csv", "out.csv"))
        subprocess.run([sys.executable, "-m", "benchmarks.start_up", "--make", model], check=True, capture_output=True)
        Path(one).write_text(f'text\n"{TEXT}"\n', "utf-8")
        ways = {
            "bare script": [sys.executable, "-c", BARE, model, TEXT],
            "manyheads predict": [*COMMAND, "predict", model, one, "--out", out, "--overwrite"],
            "manyheads inspect": [*COMMAND, "inspect", model],
            "manyheads predict --help": [*COMMAND, "predict", "--help"],
            "manyheads --help": [*COMMAND, "--help"],
        }
        timed = alternated(ways, repeats)
    base = {kind: statistics.median(getattr(one, kind) for one in timed["bare script"]) for kind in Run.__annotations__}
    print("| process | wall s | of bare | processor s | of bare |\n|---|---|---|---|---|")
    for name, runs in timed.items():
        wall, used = (statistics.median(getattr(one, kind) for one in runs) for kind in base)
        print(f"| {name} | {wall:.2f} | {wall / base['wall']:.2f} | {used:.2f} | {used / base['processor']:.2f} |")


if __name__ == "__main__":
    main()
