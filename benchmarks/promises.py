"""Whether decisions keep their promises on fresh rows: prediction sets, errors under abstention, texts out of scope.

Run with ``python -m benchmarks.promises FOLDER``, where the folder has ``clinc150``, ``banking77`` and ``hwu64``. A
frozen MiniLM head is trained once per table. Then, for each seed, decisions are fitted to one half of the test rows and
measured on the other. ``--keep FOLDER`` keeps the logits for another run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

import manyheads as mh
from benchmarks.data import minilm
from manyheads.deciding.promises.abstention import threshold_for_share
from manyheads.deciding.promises.goals import Goals
from manyheads.deciding.promises.one_label import LabelledLogits, fit_one_label
from manyheads.errors import DataError
from manyheads.heads.abstention import abstention_scores

SEEDS = 20
ERROR_SEEDS = 100
TABLES = ("clinc150", "banking77", "hwu64")
COVERAGES = (0.9, 0.95, 0.98)
ERRORS = (0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Scored:
    """The logits of a table's test rows, and of its texts that are out of scope."""

    rows: LabelledLogits
    decision: mh.Decision
    outside: np.ndarray
    held_out: LabelledLogits

    def half(self, seed: int) -> tuple[LabelledLogits, LabelledLogits]:
        """Return one half of the test rows to fit on, and the other to measure on."""
        order = np.random.default_rng(seed).permutation(len(self.rows.positions))
        first, second = np.array_split(order, 2)
        return taken(self.rows, first), taken(self.rows, second)


def taken(rows: LabelledLogits, numbers: np.ndarray) -> LabelledLogits:
    """Return some of the rows."""
    return LabelledLogits(rows.head, rows.source, rows.spec, rows.positions[numbers], rows.logits[numbers])


def read(path: Path) -> list[dict[str, Any]]:
    """Return the texts and intents of a file; the intent is ``None`` out of scope."""
    with path.open(encoding="utf-8") as file:
        return [{key: row.get(key) for key in ("text", "intent")} for row in map(json.loads, file)]


def scored(folder: Path, table: str, kept: Path | None) -> Scored:
    """Train a frozen head on a table and score its test rows and, if it has some, its validation rows."""
    parts = {
        part: read(path) for part in ("train", "val", "test") if (path := folder / table / f"{part}.jsonl").exists()
    }
    train = [row for row in parts["train"] if row["intent"] is not None]
    spec = mh.Multiclass(labels=sorted({row["intent"] for row in train}))
    file = None if kept is None else kept / f"{table}.npz"
    if file is None or not file.exists():
        model = mh.HeadedModel.from_pretrained(minilm())
        model.add_head("intent", spec)
        mh.train(model, train, text="text", eval_fraction=0.0)
        found = {part: model.predict([row["text"] for row in rows]).logits["intent"] for part, rows in parts.items()}
        found["temperature"] = np.array(model.heads["intent"].decision.temperature)
        if file is not None:
            np.savez(file, **found)
    else:
        found = dict(np.load(file))
    rows = {part: inside(spec, table, parts[part], found[part]) for part in parts}
    outside = np.array([row["intent"] is None for row in parts["test"]])
    decision = mh.Decision(temperature=float(found["temperature"]))
    return Scored(rows["test"], decision, found["test"][outside], rows.get("val", rows["test"]))


def inside(spec: mh.Multiclass, source: str, rows: Sequence[dict[str, Any]], logits: np.ndarray) -> LabelledLogits:
    """Return the rows in scope."""
    places = {label: place for place, label in enumerate(spec.labels)}
    known = [number for number, row in enumerate(rows) if row["intent"] is not None]
    positions = np.array([places[rows[number]["intent"]] for number in known])
    return LabelledLogits("intent", source, spec, positions, logits[known])


def sets(table: str, data: Scored) -> None:
    """Print the coverage and the size of sets on fresh rows."""
    for by in ("lac", "aps"):
        for coverage in COVERAGES:
            found = []
            for seed in range(SEEDS):
                fit_on, fresh = data.half(seed)
                fit = fit_one_label(fit_on, data.decision, Goals(set_coverage=coverage, set_by=by))
                chosen = fresh.answers(fit.decision).sets
                assert chosen is not None
                found.append((chosen[np.arange(len(chosen)), fresh.positions].mean(), chosen.sum(axis=1).mean()))
            covered, size = np.mean(found, axis=0)
            print(f"| {table} | {by} | {coverage:.2f} | {covered:.4f} | {size:.2f} |", flush=True)


def errors(table: str, data: Scored, confidence: float | None) -> None:
    """Print the error of the answers to fresh rows (mean over the first seeds, and over all), the share of rows that is
    answered, the share of draws in which the error holds or no threshold is found, and the number of the latter."""
    for most in ERRORS:
        found = [_error(data, most, confidence, seed) for seed in range(ERROR_SEEDS)]
        kept = [one for one in found if one is not None]
        if not kept:
            print(f"| {table} | {most:.2f} | {confidence or 'average'} | no threshold in any draw |", flush=True)
            continue
        wrong, answered = np.array(kept).T
        none = len(found) - len(kept)
        shares = (wrong[:SEEDS].mean(), wrong.mean(), answered.mean(), (np.sum(wrong <= most) + none) / len(found))
        shown = " | ".join(f"{share:.4f}" for share in shares)
        print(f"| {table} | {most:.2f} | {confidence or 'average'} | {shown} | {none} |", flush=True)


def _error(data: Scored, most: float, confidence: float | None, seed: int) -> tuple[float, float] | None:
    fit_on, fresh = data.half(seed)
    try:
        fit = fit_one_label(fit_on, data.decision, Goals(max_error=most, confidence=confidence))
    except DataError:
        return None
    found = fresh.answers(fit.decision)
    assert found.abstained is not None
    wrong = (found.positions != fresh.positions)[~found.abstained]
    return float(wrong.mean()), float((~found.abstained).mean())


def out_of_scope(data: Scored, answered: float = 0.95) -> None:
    """Print, for abstention scores and others, with a threshold fitted to validation rows in scope: the share of test
    rows in scope that is answered, the share of texts out of scope that is not, and how well the score tells the right
    answers from the wrong ones in scope (area under the ROC curve).
    """
    rows = data.rows
    right = rows.answers(data.decision).positions == rows.positions
    of_scores = {
        name: lambda logits, own=own: own(rows.spec.scores(logits, data.decision)) for name, own in SCORES.items()
    }
    for name, score in (of_scores | OF_LOGITS).items():
        held_out, inside, outside = map(score, (data.held_out.logits, rows.logits, data.outside))
        threshold = threshold_for_share(held_out, answered, "")
        shares = ((inside >= threshold).mean(), (outside < threshold).mean(), roc_auc_score(right, inside))
        print(f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} |", flush=True)


def sharpened(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities at another temperature."""
    return softmax(np.log(np.maximum(scores.astype(np.float64), 1e-300)) / temperature, axis=1)


# From calibrated probabilities (rows, labels) to (rows,).
SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "entropy": lambda scores: abstention_scores(scores, "entropy"),
    "probability": lambda scores: abstention_scores(scores, "probability"),
    "probability at temperature 2": lambda scores: sharpened(scores, 2).max(axis=1),
    "entropy at temperature 2": lambda scores: abstention_scores(sharpened(scores, 2), "entropy"),
    "margin of the two largest": lambda scores: np.diff(np.sort(scores, axis=1)[:, -2:], axis=1)[:, 0],
}
# Of the logits.
OF_LOGITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "largest logit": lambda logits: logits.max(axis=1),
    "energy": lambda logits: np.logaddexp.reduce(logits.astype(np.float64), axis=1),
}


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    for table in options.tables:
        data = scored(options.folder, table, options.keep)
        accuracy = (data.rows.answers(data.decision).positions == data.rows.positions).mean()
        print(f"\n{table}: accuracy {accuracy:.3f} on {len(data.rows.positions):,} rows", flush=True)
        if len(data.outside):
            out_of_scope(data)
        sets(table, data)
        errors(table, data, None)
        errors(table, data, 0.95)


if __name__ == "__main__":
    main()
