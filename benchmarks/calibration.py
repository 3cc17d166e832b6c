"""Whether scores are probabilities: log loss and calibration error on test rows, without the temperature and with it.

Run with ``python -m benchmarks.calibration occupation_tasks.csv --heads occupation_group activity --method Fork``. The
calibration error of the predicted labels' scores and its noise floor, mean and 95% quantile, are those of ``evaluate``
(``manyheads/evaluation/calibration.py``).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import transformers
from scipy.special import softmax
from sklearn.metrics import log_loss

import manyheads as mh
from benchmarks.data import cut, minilm
from manyheads.data.tables.table import read_table
from manyheads.evaluation.calibration import calibration
from manyheads.evaluation.kinds import Statements

METHODS: dict[str, Callable[[], object]] = {
    "Frozen": mh.Frozen,
    "Fork": mh.Fork,
    "Fork, tuned_share=1": lambda: mh.Fork(tuned_share=1),
    "Fork, lr=3e-4": lambda: mh.Fork(lr=3e-4),
    "Fork, lr=3e-4, tuned_share=1": lambda: mh.Fork(lr=3e-4, tuned_share=1),
    "LoRA": mh.LoRA,
    "Full": mh.Full,
    "Full, tuned_share=1": lambda: mh.Full(tuned_share=1),
    "Full, lr=1e-4, tuned_share=1": lambda: mh.Full(lr=1e-4, tuned_share=1),
}


def shown(logits: np.ndarray, truth: np.ndarray, temperature: float) -> str:
    """Return log loss, calibration error and its floor."""
    scores = softmax(logits.astype(np.float64) / temperature, axis=1)
    loss = log_loss(truth, scores, labels=range(scores.shape[1]))
    found = calibration(Statements("predicted labels", scores.max(axis=1), scores.argmax(axis=1) == truth))
    return f"{loss:.3f} | {found.error:.3f} | {found.floor:.3f}, {found.floor_high:.3f}"


def measured(args: argparse.Namespace, train: pa.Table, test: pa.Table, method: str, seed: int) -> None:
    """Train with a method, and print a row of the table for each head."""
    model = mh.HeadedModel.from_pretrained(minilm())
    both = pa.concat_tables([train.select(args.heads), test.select(args.heads)])
    for name, spec in mh.infer_heads(both, args.heads).items():
        model.add_head(name, spec)
    started = time.perf_counter()
    result = mh.train(model, train, text="text", method=METHODS[method](), eval_fraction=0, seed=seed)
    seconds = time.perf_counter() - started
    predictions = model.predict(test.column("text").to_pylist())
    for name in args.heads:
        labels = list(model.heads[name].spec.labels)
        truth = np.array([labels.index(label) for label in test.column(name).to_pylist()])
        logits, fit = np.asarray(predictions.logits[name]), result.temperature[name]
        accuracy = float((logits.argmax(axis=1) == truth).mean())
        share = result.chosen[name].get("tuned_share")
        kept = f"{fit.temperature:.3f} ({fit.fitted:.3f}, {fit.gain:+.4f} of {fit.error:.4f}, {fit.items})"
        raw, calibrated = (shown(logits, truth, one) for one in (1.0, fit.temperature))
        way = method if share is None else f"{method} ({share:g})"
        print(f"| {way} | {name} | {accuracy:.3f} | {kept} | {raw} | {calibrated} | {seconds:.0f} |", flush=True)


def tables(args: argparse.Namespace, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return training and test rows, drawn from one table or from two."""
    if args.test_table is None:
        return cut(args.table, args.train, args.test, seed)
    found = []
    for path, count in ((args.table, args.train), (args.test_table, args.test)):
        rows = read_table(path).to_arrow()
        for head in args.heads:
            rows = rows.filter(pc.is_valid(rows.column(head)))
        found.append(rows.take(np.random.default_rng(seed).permutation(rows.num_rows)[:count]))
    return found[0], found[1]


def main() -> None:
    """Print the table."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--test-table", help="a table of test rows; by default they are drawn from the first one")
    parser.add_argument("--heads", nargs="+", required=True)
    parser.add_argument("--method", nargs="+", default=["Frozen"], choices=METHODS)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    args = parser.parse_args()
    title = "log loss | calibration error | floor"
    print(f"| method | head | accuracy | temperature (best, gain of error, rows) | {title} | {title} | s |")
    print(f"|{'---|' * 11}")
    for seed in args.seed:
        train, test = tables(args, seed)
        for method in args.method:
            measured(args, train, test, method, seed)


if __name__ == "__main__":
    main()
