"""Tuning the backbone: one joint run against one stock run per head, a fork against all layers, and what keeps a
language model from forgetting.

Run with ``python -m benchmarks.tuning joint|fork|forgetting``; ``--help`` after the part's name tells its options, and
``--rows`` and ``--test`` make any of them small.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pyarrow as pa
import torch
import transformers

import manyheads as mh
from benchmarks import rivals
from benchmarks.compare import alternate
from benchmarks.data import HEADS, cut, medical_gpt2, minilm
from manyheads.demo.samples import diagnoses, occupation_tasks, split
from manyheads.features.cache import FOLDER_VARIABLE
from manyheads.features.precision import has_fast_bfloat16

RATES = (2e-5, 5e-5, 1e-4)
BATCH_ROWS = 16
FORK_RATES = (1e-4, 3e-4)
TOP = 2
LM_WEIGHTS = (0.0, 0.1, 0.3, 1.0)

JOINT = "joint, heads solved first"
RANDOM = "joint, heads random"
SAME_TAP = "Frozen"
FULL = "Full"
STOCK = "one stock Trainer run per head"

Accuracies = Mapping[str, float]


class EpochClock(transformers.TrainerCallback):  # type: ignore[misc]
    """Writes down how long each epoch took, evaluation not counted."""

    seconds: ClassVar[list[float]] = []

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.started = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop; callbacks that a run adds, evaluation among them, come after this one."""
        self.seconds.append(time.perf_counter() - self.started)


def headed(path: str, heads: Sequence[str], rows: pa.Table) -> mh.HeadedModel:
    """Return a model with one fresh head per column, each reading what stock classifiers of its kind read."""
    model = mh.HeadedModel.from_pretrained(path)
    for name in heads:
        labels = sorted(set(rows.column(name).to_pylist()))
        model.add_head(name, mh.Multiclass(labels, reads=mh.Hidden()))
    return model


def trained(path: str, heads: Sequence[str], train: pa.Table, test: pa.Table, method: Any, seed: int = 0) -> Any:
    """Load, train and evaluate; no run finds features that an earlier one left."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ[FOLDER_VARIABLE] = cache
        model = headed(path, heads, pa.concat_tables([train, test]))
        return mh.train(model, train, text="text", eval_data=test, method=method, seed=seed)


def accuracies(result: Any) -> dict[str, float]:
    """Return every head's accuracy on the test rows."""
    return {name: metrics["accuracy"] for name, metrics in result.metrics.items()}


def row(*cells: object) -> None:
    """Print one line of a table."""
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def header(*cells: str) -> None:
    """Print the first two lines of a table."""
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def joint(options: argparse.Namespace) -> None:
    """Whole runs, loading and evaluation included: both heads at once, and a stock model each."""
    path = minilm()
    rows = cut(options.table or occupation_tasks(), options.rows, options.test)
    joint_ways(path, cut(occupation_tasks(), 64, 32), RATES[0])  # no import or first-time set-up is timed
    print(f"MiniLM, {options.rows:,} / {options.test:,} rows, 3 epochs, {BATCH_ROWS} rows per step\n")
    header("lr", "way", *HEADS, "mean", "seconds", "of the stock runs'")
    means: dict[tuple[str, float], float] = {}
    for rate in options.rates:
        timed = joint_ways(path, rows, rate, options.repeats)
        for name, entry in timed.items():
            found: Accuracies = entry.result  # type: ignore[assignment]
            means[name, rate] = statistics.mean(found.values())
            shown = [f"{found[head]:.3f}" for head in HEADS]
            share = f"{entry.median / timed[STOCK].median:.2f}x"
            row(f"{rate:g}", name, *shown, f"{means[name, rate]:.4f}", f"{entry.median:.0f}", share)
    print()
    for name in (JOINT, RANDOM, STOCK):
        best, rate = max((mean, rate) for (way, rate), mean in means.items() if way == name)
        print(f"- best of {name}: {best:.4f} at {rate:g}")


def joint_ways(path: str, rows: tuple[pa.Table, pa.Table], rate: float, repeats: int = 1) -> Any:
    """Time the ways at one learning rate."""
    stock = {"learning_rate": rate, "per_device_train_batch_size": BATCH_ROWS}

    def ours(start: str) -> Callable[[], Accuracies]:
        method = mh.Full(epochs=3, lr=rate, batch_rows=BATCH_ROWS, start=start)
        return lambda: accuracies(trained(path, HEADS, *rows, method))

    return alternate(
        {JOINT: ours("frozen"), RANDOM: ours("random"), STOCK: lambda: rivals.fine_tuned(path, *rows, stock)}, repeats
    )


def fork(options: argparse.Namespace) -> None:
    """What the top blocks' copy reaches, and what an epoch of it costs, against tuning everything."""
    transformers.trainer.DEFAULT_CALLBACKS.append(EpochClock)
    tasks = {"MiniLM, occupation tasks": (minilm(), HEADS, options.table or occupation_tasks())}
    if options.smollm2:
        tasks["SmolLM2-135M, chapters of diagnoses"] = (options.smollm2, ("chapter",), options.diagnoses or diagnoses())
    for title, (path, heads, table) in tasks.items():
        print(f"{title}, {options.rows:,} / {options.test:,} rows\n")
        fork_table(path, heads, cut(table, options.rows, options.test), options)


def fork_table(path: str, heads: Sequence[str], rows: tuple[pa.Table, pa.Table], options: argparse.Namespace) -> None:
    """Print one backbone's table."""
    epochs, rates = options.epochs, options.fork_rates
    ways = {
        SAME_TAP: mh.Frozen(),
        **{f"Fork(top={TOP}, lr={rate:g})": mh.Fork(top=TOP, epochs=epochs, lr=rate) for rate in rates},
        **{f"Fork, twice the epochs, lr={rate:g}": mh.Fork(top=TOP, epochs=2 * epochs, lr=rate) for rate in rates},
        FULL: mh.Full(epochs=epochs, lr=options.full_rate),
    }
    header("way", *heads, "mean", "seconds", "seconds per epoch", "same backbone, bit for bit")
    reached, per_epoch = {}, {}
    for name, method in ways.items():
        EpochClock.seconds.clear()
        result = trained(path, heads, *rows, method)
        reached[name] = statistics.mean(accuracies(result).values())
        per_epoch[name] = statistics.median(EpochClock.seconds or [math.nan])
        shown = [f"{value:.3f}" for value in accuracies(result).values()]
        epoch = f"{per_epoch[name]:.1f}" if EpochClock.seconds else ""
        row(name, *shown, f"{reached[name]:.4f}", f"{result.seconds:.0f}", epoch, result.lm_check.bit_identical)
    gain = reached[FULL] - reached[SAME_TAP]
    print(f"\nFull gains {100 * gain:+.1f} points over Frozen on the same tap.")
    for name in ways:
        if name.startswith("Fork"):
            share = f"{(reached[name] - reached[SAME_TAP]) / gain:.2f} of that" if gain > 0 else "not comparable"
            print(f"- {name}: {share}, an epoch {per_epoch[name] / per_epoch[FULL]:.2f} of Full's")
    print(flush=True)


def forgetting(options: argparse.Namespace) -> None:
    """Perplexity and accuracy after tuning a small medical GPT-2 with its own loss weighed in."""
    path = medical_gpt2(Path(options.folder))
    train, test = (pa.Table.from_pylist(part) for part in split(diagnoses()))
    train, test = train.slice(0, options.rows), test.slice(0, options.test)
    print(f"small medical GPT-2, chapters, {train.num_rows:,} / {test.num_rows:,} rows, {options.epochs} epochs, "
          f"lr {options.full_rate:g}, {options.seeds} seeds\n")  # fmt: skip
    header("lm_weight", "accuracy", "spread", "perplexity before", "after", "rise", "of the rise at 0", "seconds")
    unhelped = math.nan
    for weight in options.lm_weights:
        method = mh.Full(epochs=options.epochs, lr=options.full_rate, lm_weight=weight)
        results = [trained(path, ("chapter",), train, test, method, seed) for seed in range(options.seeds)]
        reached = [result.metrics["chapter"]["accuracy"] for result in results]
        before = results[0].lm_check.reference_perplexity
        after = statistics.mean(result.lm_check.perplexity for result in results)
        unhelped = after - before if weight == 0 else unhelped
        row(f"{weight:g}", f"{statistics.mean(reached):.3f}", f"{max(reached) - min(reached):.3f}", f"{before:.2f}",
            f"{after:.2f}", f"{after - before:+.2f}", f"{(after - before) / unhelped:.2f}",
            f"{statistics.mean(result.seconds for result in results):.0f}")  # fmt: skip


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning")
    parts = parser.add_subparsers(required=True)
    sizes = {"joint": (4000, 1000), "fork": (1000, 500), "forgetting": (6400, 1600)}
    for run, helped in ((joint, "--table"), (fork, "--table"), (forgetting, "")):
        part = parts.add_parser(run.__name__, help=run.__doc__)
        part.set_defaults(run=run)
        for name, size in zip(("--rows", "--test"), sizes[run.__name__], strict=True):
            part.add_argument(name, type=int, default=size)
        if helped:
            part.add_argument(helped, help="occupation_tasks.csv; the demo's sample by default")
        if run is not joint:
            part.add_argument("--epochs", type=int, default=3)
            part.add_argument("--full-rate", type=float, default=2e-5, help="Full's learning rate")
    parts.choices["joint"].add_argument("--rates", type=float, nargs="+", default=RATES, help="learning rates")
    parts.choices["joint"].add_argument("--repeats", type=int, default=1)
    parts.choices["fork"].add_argument("--fork-rates", type=float, nargs="+", default=FORK_RATES, help="Fork's")
    parts.choices["fork"].add_argument("--smollm2", help="folder that benchmarks.smollm2 made; left out without one")
    parts.choices["fork"].add_argument("--diagnoses", help="icd10cm.csv; the demo's sample by default")
    parts.choices["forgetting"].add_argument("--folder", required=True, help="where the GPT-2 lies, or is put")
    parts.choices["forgetting"].add_argument("--seeds", type=int, default=3)
    parts.choices["forgetting"].add_argument("--lm-weights", type=float, nargs="+", default=LM_WEIGHTS)
    return parser.parse_args()


def main() -> None:
    """Print the tables of one part."""
    options = arguments()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    fast = has_fast_bfloat16(torch.device("cpu"))
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads, "
          f"bf16 in hardware: {fast}\n", flush=True)  # fmt: skip
    options.run(options)


if __name__ == "__main__":
    main()
