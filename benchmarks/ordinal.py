"""Ordered labels: an ordinal head against a multi-class one that reads the same.

Run with ``python -m benchmarks.ordinal icd10cm.csv``. The order is how far a diagnosis is specified: the number of
characters of its ICD-10-CM code, 3 (a category) to 7 (side, cause and encounter), which its words tell in part.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import transformers
from sklearn.metrics import cohen_kappa_score

import manyheads as mh
from benchmarks.data import cut, minilm
from manyheads.data.tables.table import read_table

LEVELS = [3, 4, 5, 6, 7]


def with_depth(path: str) -> pa.Table:
    """Return the diagnoses with the number of characters of their codes."""
    rows = read_table(path).to_arrow()
    depths = [len(code.replace(".", "")) for code in rows.column("code").to_pylist()]
    return rows.select(["text"]).append_column("depth", pa.array(depths))


def one_seed(train: pa.Table, test: pa.Table, cache: Path, seed: int) -> dict[str, tuple[float, float, float]]:
    """Return accuracy, mean absolute error and quadratic kappa on the test rows by way."""
    model = mh.HeadedModel.from_pretrained(minilm())
    reads = mh.Hidden()
    model.add_head("ordinal", mh.Ordinal(LEVELS, column="depth", reads=reads))
    model.add_head("multiclass", mh.Multiclass(LEVELS, column="depth", reads=reads))
    mh.train(model, train, text="text", method=mh.Frozen(cache=cache), eval_fraction=0, seed=seed)
    scores = model.predict(test.column("text").to_pylist()).scores
    ranks = np.searchsorted(LEVELS, test.column("depth").to_numpy())

    def judged(guesses: np.ndarray) -> tuple[float, float, float]:
        apart = np.abs(guesses - ranks)
        return float((apart == 0).mean()), float(apart.mean()), cohen_kappa_score(ranks, guesses, weights="quadratic")

    def median(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = (np.cumsum(values[:, :0:-1], axis=1) > 0.5).sum(axis=1)
        return found

    return {
        "Ordinal (median)": judged(median(scores["ordinal"])),
        "Multiclass (most probable)": judged(scores["multiclass"].argmax(axis=1)),
        "Multiclass, its median": judged(median(scores["multiclass"])),
        "Ordinal, its most probable": judged(scores["ordinal"].argmax(axis=1)),
    }


def lines(found: dict[str, np.ndarray]) -> str:
    """Return a Markdown table of means over seeds, and how far each way's error is from the first one's."""
    first = next(iter(found.values()))[:, 1]
    said = ["| way | accuracy | mean absolute error | its distance from the first, and standard error | kappa |"]
    said.append("|---|---|---|---|---|")
    for name, values in found.items():
        accuracy, error, kappa = values.mean(axis=0)
        apart = values[:, 1] - first
        sure = apart.std(ddof=1) / len(apart) ** 0.5
        said.append(f"| {name} | {accuracy:.3f} | {error:.4f} | {apart.mean():+.4f} ({sure:.4f}) | {kappa:.3f} |")
    return "\n".join(said)


def main() -> None:
    """Print one table per number of training rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--rows", type=int, nargs="+", default=[250, 1000, 4000])
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    table = with_depth(options.path)
    with tempfile.TemporaryDirectory() as place:
        for rows in options.rows:
            runs = [one_seed(*cut(table, rows, options.test, seed), Path(place), seed) for seed in range(options.seeds)]
            found = {name: np.array([run[name] for run in runs]) for name in runs[0]}
            print(f"## {rows:,} / {options.test:,} rows, {options.seeds} seeds\n\n{lines(found)}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
