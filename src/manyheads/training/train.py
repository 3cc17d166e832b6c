"""The training driver: table in, trained heads and a report out. What differs between methods lies in the methods."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.checkpoint import save_checkpoint
from manyheads.checkpoint.atomic import check_free
from manyheads.core import HeadedCore
from manyheads.data.table import Table, read_table
from manyheads.errors import HeadError
from manyheads.heads import Head, Multiclass
from manyheads.inference.predictor import tokenize_for
from manyheads.lm_check import LMCheck, compare_weights
from manyheads.metrics import Metrics, measure
from manyheads.training.data import (
    Evaluation,
    LabelledTexts,
    Reading,
    TrainingData,
    check_learnable,
    read_labelled,
    split_rows,
    usable_rows,
)
from manyheads.training.labelled import labelled_rows
from manyheads.training.methods import Method, Outcome
from manyheads.training.trial import Trial


@dataclass(frozen=True)
class TrainResult:
    """What training did.

    Attributes:
        metrics: Head name -> metric name -> value, on the evaluation rows.
        rows: Head name -> number of labelled rows it trained on and was evaluated on.
        evaluated: Numbers (from 0) of the evaluation rows, in ``eval_data`` or, held out, in ``data``.
        chosen: Head name -> the settings it was fitted with.
        search: Head name -> what was tried, with its loss on held-out training rows.
        history: Head name -> one record per epoch, for heads that are stepped.
        lm_check: Whether the backbone, and so its language model, is what it was, bit for bit.
        notes: What a person should know, one sentence each.
        seconds: Wall time.
        out: Where the model was saved, if it was.
    """

    metrics: dict[str, Metrics]
    rows: dict[str, dict[str, int]]
    evaluated: list[int]
    chosen: dict[str, dict[str, float]]
    search: dict[str, list[Trial]]
    history: dict[str, list[dict[str, float]]]
    lm_check: LMCheck
    notes: list[str]
    seconds: float
    out: Path | None = field(default=None)


def train(
    core: HeadedCore,
    tokenizer: Any,
    data: object,
    method: Method,
    heads: Iterable[str] | None,
    reading: Reading,
    evaluation: Evaluation,
    out: Path | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Train heads on a table; :func:`manyheads.train` says what each argument means."""
    started = time.perf_counter()
    if out is not None:
        check_free(out, overwrite)
    chosen = core.heads.chosen(heads)
    if not chosen:
        reason = "heads=[] names none" if core.heads else "this model has none"
        raise HeadError(f"There is no head to train: {reason}; add one with add_head, or infer some with infer_heads")
    prepared, evaluated, notes = _prepare(core, tokenizer, data, chosen, reading, evaluation)
    outcome = method.fit(core, chosen, prepared)
    check = compare_weights(prepared.digest, core.backbone.digest())
    metrics = {name: _metrics(head, prepared, name, outcome.logits[name]) for name, head in chosen.items()}
    rows = {name: _counts(head, name, prepared) for name, head in chosen.items()}
    for name, head in chosen.items():
        head.summary = _summary(method, reading.text, outcome, name, metrics[name], rows[name])
    if out is not None:
        save_checkpoint(out, core.backbone, tokenizer, core.heads, overwrite=overwrite)
    return TrainResult(
        metrics=metrics,
        rows=rows,
        evaluated=evaluated.tolist(),
        chosen={name: fit.settings for name, fit in outcome.fits.items()},
        search={name: fit.trials for name, fit in outcome.fits.items()},
        history={name: fit.history for name, fit in outcome.fits.items()},
        lm_check=check,
        notes=notes,
        seconds=time.perf_counter() - started,
        out=out,
    )


def _prepare(
    core: HeadedCore,
    tokenizer: Any,
    data: object,
    heads: Mapping[str, Head],
    reading: Reading,
    evaluation: Evaluation,
) -> tuple[TrainingData, np.ndarray, list[str]]:
    """Read everything that the method needs, the numbers of the evaluation rows in their table, and what to note."""
    table = read_table(data)
    parts = [read_labelled(table, reading.text, heads)]
    if evaluation.data is None:
        usable = usable_rows(parts[0], heads)
        train, evaluate = split_rows(parts[0], usable, evaluation.fraction, evaluation.seed)
        picked = [np.concatenate([train, evaluate])]
    else:
        parts.append(read_labelled(_told_apart(read_table(evaluation.data), table), reading.text, heads))
        picked = [usable_rows(part, heads) for part in parts]
        train, evaluate = picked
    check_learnable(parts[0], train, heads)
    texts = [part.texts.texts[row] for part, rows in zip(parts, picked, strict=True) for row in rows]
    places = [f"{part.source}, row {row + 1}" for part, rows in zip(parts, picked, strict=True) for row in rows]
    tokenized = tokenize_for(core, tokenizer, texts, reading.max_length, reading.long_text, places)
    targets = {
        name: np.concatenate([part.targets[name][rows] for part, rows in zip(parts, picked, strict=True)])
        for name in heads
    }
    numbers = np.arange(len(texts))
    train, held_out = numbers[: len(train)], numbers[len(train) :]
    digest = core.backbone.digest()
    prepared = TrainingData(tokenized, texts, targets, train, held_out, evaluation.seed, digest)
    return prepared, evaluate, _notes(parts, picked, prepared, heads)


def _told_apart(evaluation: Table, training: Table) -> Table:
    """Return the evaluation table under a name of its own, for messages: two lists are both "the list of rows"."""
    same = evaluation.name == training.name
    return dataclasses.replace(evaluation, name=f"eval_data, {evaluation.name}") if same else evaluation


def _notes(
    parts: Sequence[LabelledTexts], picked: Sequence[np.ndarray], data: TrainingData, heads: Mapping[str, Head]
) -> list[str]:
    notes = []
    for part, rows in zip(parts, picked, strict=True):
        empty = int(part.texts.empty.sum())
        if empty:
            notes.append(f"{part.source}: {empty} rows hold no text and were left out.")
        unlabelled = len(part.texts) - empty - len(rows)
        if unlabelled:
            notes.append(f"{part.source}: {unlabelled} rows hold no label of any head and were left out.")
    cut = int(data.tokenized.truncated.sum())
    if cut:
        notes.append(f"{cut} texts were longer than the limit and were cut.")
    for name, head in heads.items():
        if isinstance(head.spec, Multiclass):
            seen = set(data.targets[name][data.train].tolist())
            unseen = [label for k, label in enumerate(head.spec.labels) if k not in seen]
            if unseen:
                notes.append(f"Head {name!r}: {len(unseen)} labels have no training row, such as {unseen[0]!r}.")
    return notes


def _metrics(head: Head, data: TrainingData, name: str, logits: np.ndarray) -> Metrics:
    """Return the metrics on the evaluation rows; for one label per row, also what the training rows' most frequent
    label would reach there."""
    targets = data.targets[name]
    metrics = measure(head.spec, targets[data.evaluate], logits)
    if isinstance(head.spec, Multiclass) and metrics["rows"]:
        labelled = labelled_rows(head.spec, targets)
        frequent = np.bincount(targets[data.train][labelled[data.train]]).argmax()
        metrics["majority_accuracy"] = float((targets[data.evaluate][labelled[data.evaluate]] == frequent).mean())
    return metrics


def _counts(head: Head, name: str, data: TrainingData) -> dict[str, int]:
    labelled = labelled_rows(head.spec, data.targets[name])
    return {"train": int(labelled[data.train].sum()), "evaluate": int(labelled[data.evaluate].sum())}


def _summary(
    method: Method, text: str | Sequence[str], outcome: Outcome, name: str, metrics: Metrics, rows: dict[str, int]
) -> dict[str, Any]:
    """Return what is saved with the head; JSON knows no NaN, so an undefined metric is ``None``."""
    fit = outcome.fits[name]
    return {
        **method.describe(),
        "text": text if isinstance(text, str) else list(text),
        "settings": fit.settings,
        "rows": rows,
        "metrics": {key: value if math.isfinite(value) else None for key, value in metrics.items()},
        "tried": [trial.record() for trial in fit.trials],
    }
