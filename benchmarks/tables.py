"""Frozen heads against sentence embeddings with logistic regression, on public tables and few to many rows.

Run with ``python -m benchmarks.tables FOLDER [--draws 4] [--only banking77]``, where the folder holds ``banking77``,
``clinc150``, ``hwu64`` (JSON lines) and ``occupation_tasks.csv``. Both read MiniLM. The rival is what people write in
ten lines: embeddings of unit length, ``LogisticRegression(C=10)``. On the occupation tasks a second rival searches the
strength and joins TF-IDF. Each draw takes other training rows; figures are means over the draws with their standard
errors. Whole tables have one draw. Features are cached, so the seconds are those of searching, solving and evaluating.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import transformers
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import manyheads as mh
from benchmarks.data import HEADS, minilm
from benchmarks.rivals import embedded, encoder
from manyheads.data.tables.table import read_table

Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Task:
    """Training and test rows with one label column.

    Attributes:
        name: The table and the number of rows.
        column: The labels.
        draw: Returns training and test rows for a seed.
        whole: Whether every draw is the same.
    """

    name: str
    column: str
    draw: Callable[[int], tuple[Rows, Rows]]
    whole: bool = False


@dataclass(frozen=True)
class Figures:
    """What one way reached on one draw."""

    accuracy: float
    log_loss: float
    seconds: float


def tasks(folder: Path) -> Iterator[Task]:
    """Yield the tasks, the smallest first."""
    for name, shots in (("banking77", 2), ("banking77", 5), ("banking77", 8), ("banking77", 10), ("clinc150", 5)):
        yield Task(f"{name}, {shots} rows per label", "intent", lambda seed, n=name, s=shots: few(folder / n, s, seed))
    table = folder / "occupation_tasks.csv"
    for column in ("occupation_group", "activity"):
        yield Task(f"occupation_tasks, 2,000 rows, {column}", column, lambda seed: occupations(table, seed))
    for name, column in (("hwu64", "scenario"), ("hwu64", "intent"), ("banking77", "intent"), ("clinc150", "intent")):
        yield Task(
            f"{name}, all rows, {column}", column, lambda _, n=name, c=column: all_rows(folder / n, c), whole=True
        )


def all_rows(folder: Path, column: str) -> tuple[Rows, Rows]:
    """Return all training and test rows with a label."""
    train, test = (
        [row for row in map(json.loads, (folder / f"{part}.jsonl").read_text("utf-8").splitlines()) if row.get(column)]
        for part in ("train", "test")
    )
    return train, test


def few(folder: Path, shots: int, seed: int) -> tuple[Rows, Rows]:
    """Return so many training rows per intent, and all test rows with an intent."""
    train, test = all_rows(folder, "intent")
    labels = np.array([row["intent"] for row in train])
    draw = np.random.default_rng(seed)
    chosen = np.concatenate(
        [draw.choice(np.flatnonzero(labels == label), shots, replace=False) for label in np.unique(labels)]
    )
    return [train[row] for row in chosen], test


def occupations(path: Path, seed: int) -> tuple[Rows, Rows]:
    """Return 2,000 training and 1,000 test rows."""
    rows = read_table(str(path)).to_arrow()
    order = np.random.default_rng(seed).permutation(rows.num_rows)
    return rows.take(order[:2000]).to_pylist(), rows.take(order[2000:3000]).to_pylist()


def ours(train: Rows, test: Rows, column: str, cache: Path) -> Figures:
    """Train one head with the defaults."""
    model = mh.HeadedModel.from_pretrained(minilm())
    labels = sorted({str(row[column]) for row in train + test})
    model.add_head(column, mh.Multiclass(labels))
    rows = [[{"text": row["text"], column: row[column]} for row in part] for part in (train, test)]
    start = time.perf_counter()
    result = mh.train(model, rows[0], text="text", eval_data=rows[1], method=mh.Frozen(cache=cache))
    metrics = result.metrics[column]
    return Figures(metrics["accuracy"], metrics["log_loss"], time.perf_counter() - start)


class Rival:
    """Embeddings of unit length and ``LogisticRegression(C=10)``."""

    def __init__(self) -> None:
        self._model = encoder(minilm())
        self._known: dict[str, np.ndarray] = {}

    def embedded(self, rows: Rows) -> np.ndarray:
        """Return the embeddings (rows, width); each text is encoded once."""
        new = list({str(row["text"]) for row in rows} - set(self._known))
        vectors = self._model.encode(new, show_progress_bar=False, normalize_embeddings=True)
        self._known |= dict(zip(new, vectors, strict=True))
        return np.stack([self._known[str(row["text"])] for row in rows])

    def __call__(self, train: Rows, test: Rows, column: str) -> Figures:
        """Fit on the training rows and predict the test rows."""
        known, asked = self.embedded(train), self.embedded(test)
        start = time.perf_counter()
        fitted = LogisticRegression(C=10, max_iter=1000).fit(known, [str(row[column]) for row in train])
        probabilities, truth = fitted.predict_proba(asked), np.array([str(row[column]) for row in test])
        seen = np.isin(truth, fitted.classes_)
        accuracy = float((fitted.classes_[probabilities.argmax(axis=1)] == truth).mean())
        loss = float(log_loss(truth[seen], probabilities[seen], labels=fitted.classes_))
        return Figures(accuracy, loss, time.perf_counter() - start)


def shown(found: list[Figures]) -> str:
    """Return the means of accuracy, its standard error, log loss and seconds as cells."""
    accuracies = np.array([one.accuracy for one in found])
    error = f" ± {accuracies.std(ddof=1) / len(found) ** 0.5:.4f}" if len(found) > 1 else ""
    loss, seconds = (np.mean([getattr(one, name) for one in found]) for name in ("log_loss", "seconds"))
    return f"{accuracies.mean():.4f}{error} | {loss:.3f} | {seconds:.1f}"


def searched(train: Rows, test: Rows, column: str) -> str:
    """Return the accuracy of the searched rival, where it is tried."""
    if column not in HEADS:
        return ""
    return f"{embedded(minilm(), pa.Table.from_pylist(train), pa.Table.from_pylist(test), [column])[column]:.4f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rival = Rival()
    print("| table | accuracy, ours | log loss | s | accuracy, LR | log loss | s | accuracy, LR searched |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        for task in tasks(arguments.folder):
            if arguments.only not in task.name:
                continue
            drawn = [task.draw(seed) for seed in range(1 if task.whole else arguments.draws)]
            for train, test in drawn:
                ours(train, test, task.column, Path(cache))  # fills the cache
            mine = [ours(train, test, task.column, Path(cache)) for train, test in drawn]
            theirs = [rival(train, test, task.column) for train, test in drawn]
            best = " ".join(searched(train, test, task.column) for train, test in drawn)
            print(f"| {task.name} | {shown(mine)} | {shown(theirs)} | {best.strip()} |", flush=True)


if __name__ == "__main__":
    main()
