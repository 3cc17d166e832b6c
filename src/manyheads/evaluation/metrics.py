"""How good a head's logits are, by scikit-learn's metrics, on labelled rows only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn import metrics as sk

from manyheads.heads import (
    NEUTRAL,
    Decision,
    HeadSpec,
    Multiclass,
    MultiLabel,
    OneLabelSpec,
    Ordinal,
    Ragged,
    Regression,
    Tokens,
)
from manyheads.heads.cells.entities import entities
from manyheads.heads.decision import DEFAULT_THRESHOLD
from manyheads.heads.kinds import Count
from manyheads.heads.kinds.shares import most_probable
from manyheads.types import MISSING

Metrics = dict[str, float]


@singledispatch
def measure(spec: HeadSpec, targets: Any, logits: Any, decision: Decision = NEUTRAL) -> Metrics:
    """Return a head's metrics, ``rows`` (the number of labelled rows) first, and alone if no row is labelled.

    Args:
        spec: The head's spec.
        targets: The values of ``Targets``.
        logits: The values of ``Logits``.
        decision: The head's decision. With thresholds, F1 at 0.5 is given besides: ``micro_f1_at_half`` and
            ``macro_f1_at_half``.
    """
    raise TypeError(f"no metrics for {type(spec).__name__}")


def baseline(spec: HeadSpec, train: Any, targets: Any) -> Metrics:
    """Return what predictions without the texts would reach: for one label per row, the training rows' most frequent.

    Args:
        spec: The head's spec.
        train: The values of the training rows' targets, at least one of them labelled.
        targets: The values of the evaluation rows' targets.
    """
    if not isinstance(spec, OneLabelSpec):
        return {}
    positions, known = most_probable(targets), most_probable(train)
    present = positions[positions != MISSING]
    frequent = np.bincount(known[known != MISSING]).argmax()
    return {"majority_accuracy": float((present == frequent).mean())} if len(present) else {}


@measure.register
def _(spec: Multiclass, targets: np.ndarray, logits: np.ndarray, decision: Decision = NEUTRAL) -> Metrics:
    positions = most_probable(targets)
    present = positions != MISSING
    positions, logits = positions[present], logits[present]
    if not len(positions):
        return {"rows": 0}
    scores = spec.scores(logits.astype(np.float64), decision)
    guesses = spec.answers(logits, scores, decision).positions
    return {
        "rows": len(positions),
        "accuracy": float(sk.accuracy_score(positions, guesses)),
        "macro_f1": float(sk.f1_score(positions, guesses, average="macro", zero_division=0)),
        "log_loss": _log_loss(targets[present], scores),
    }


@measure.register
def _(spec: Ordinal, targets: np.ndarray, logits: np.ndarray, decision: Decision = NEUTRAL) -> Metrics:
    positions = most_probable(targets)
    present = positions != MISSING
    positions, logits = positions[present], logits[present].astype(np.float64)
    if not len(positions):
        return {"rows": 0}
    scores = spec.scores(logits, decision)
    guesses = spec.answers(logits, scores, decision).positions
    ranks = range(len(spec.labels))
    # Kappa divides by what chance would get wrong: nothing, where all is one label.
    alike = len(np.unique([positions, guesses])) == 1
    kappa = float("nan") if alike else sk.cohen_kappa_score(positions, guesses, labels=ranks, weights="quadratic")
    return {
        "rows": len(positions),
        "accuracy": float(sk.accuracy_score(positions, guesses)),
        "mean_absolute_error": float(sk.mean_absolute_error(positions, guesses)),
        "quadratic_kappa": float(kappa),
        "log_loss": _log_loss(targets[present], scores / scores.sum(axis=1, keepdims=True)),
    }


@measure.register
def _(spec: MultiLabel, targets: np.ndarray, logits: np.ndarray, decision: Decision = NEUTRAL) -> Metrics:
    present = ~np.isnan(targets).any(axis=1)
    # A probability counts as the more probable of yes and no.
    targets, logits = (targets[present] >= DEFAULT_THRESHOLD).astype(int), logits[present]
    if not len(targets):
        return {"rows": 0}
    scores = spec.scores(logits, decision)
    guesses, at_half = (spec.chosen(scores, one).astype(int) for one in (decision, NEUTRAL))
    used = targets.any(axis=0)
    precision = sk.average_precision_score(targets[:, used], logits[:, used], average="macro") if used.any() else 0.0
    return {
        "rows": len(targets),
        **{f"{average}_f1": _f1(targets, guesses, average) for average in ("micro", "macro")},
        "average_precision": float(precision),
        "exact_match": float((guesses == targets).all(axis=1).mean()),
        **(
            {}
            if decision.thresholds is None
            else {f"{average}_f1_at_half": _f1(targets, at_half, average) for average in ("micro", "macro")}
        ),
    }


def _f1(targets: np.ndarray, guesses: np.ndarray, average: str) -> float:
    return float(sk.f1_score(targets, guesses, average=average, zero_division=0))


@measure.register
def _(spec: Regression, targets: np.ndarray, logits: np.ndarray, decision: Decision = NEUTRAL) -> Metrics:
    present = ~np.isnan(targets)
    targets, values = targets[present].astype(np.float64), logits[present, 0].astype(np.float64)
    if not len(targets):
        return {"rows": 0}
    return {
        "rows": len(targets),
        # R squared compares with the mean of at least two values.
        "r2": float(sk.r2_score(targets, values)) if len(targets) > 1 else float("nan"),
        "mean_absolute_error": float(sk.mean_absolute_error(targets, values)),
        "root_mean_squared_error": float(sk.root_mean_squared_error(targets, values)),
    }


@measure.register
def _count_metrics(spec: Count, targets: np.ndarray, logits: np.ndarray, decision: Decision = NEUTRAL) -> Metrics:
    present = ~np.isnan(targets)
    targets, counts = targets[present].astype(np.float64), spec.scores(logits[present, 0].astype(np.float64), decision)
    if not len(targets):
        return {"rows": 0}
    return {
        "rows": len(targets),
        # Like R squared, but for the Poisson deviance, which no constant but the mean explains.
        "d2": float(sk.d2_tweedie_score(targets, counts, power=1)) if targets.min() < targets.max() else float("nan"),
        "mean_absolute_error": float(sk.mean_absolute_error(targets, counts)),
        "mean_poisson_deviance": float(sk.mean_poisson_deviance(targets, counts)),
    }


@measure.register
def _(spec: Tokens, targets: Ragged, logits: Ragged, decision: Decision = NEUTRAL) -> Metrics:
    guesses = spec.predicted_classes(logits)
    labelled = [row != MISSING for row in targets]
    rows = [row for row, present in enumerate(labelled) if present.any()]
    if not rows:
        return {"rows": 0}
    # Words without a label are no words, as in seqeval's users' scripts.
    true = [targets[row][labelled[row]] for row in rows]
    predicted = [guesses[row][labelled[row]] for row in rows]
    all_true, all_predicted = np.concatenate(true), np.concatenate(predicted)
    accuracy = float(sk.accuracy_score(all_true, all_predicted))
    if spec.scheme == "BIO":
        return {"rows": len(rows), **entity_scores(true, predicted), "accuracy": accuracy}
    macro_f1 = float(sk.f1_score(all_true, all_predicted, average="macro", zero_division=0))
    return {"rows": len(rows), "accuracy": accuracy, "macro_f1": macro_f1}


def _log_loss(targets: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean log loss of probabilities (rows, labels), for shares the expected one.

    Args:
        targets: Positions (rows,) or shares (rows, labels), none of them missing.
        scores: fp64 (rows, labels).
    """
    if targets.ndim == 1:
        return float(sk.log_loss(targets, scores, labels=range(scores.shape[1])))
    # scikit-learn's own bound of the probabilities.
    bounded = np.clip(scores, np.finfo(scores.dtype).eps, 1 - np.finfo(scores.dtype).eps)
    return float(-(targets * np.log(bounded)).sum(axis=1).mean())


def entity_scores(true: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> Metrics:
    """Return precision, recall and F1 of whole entities, right where first word, last word and type are.

    The same numbers as seqeval's, micro-averaged, in its default mode (Nakayama 2018), against which this is tested.

    Args:
        true: BIO tags (words,) of each text.
        predicted: The predicted tags.
    """
    wanted, found = _entity_set(true), _entity_set(predicted)
    right = len(wanted & found)
    precision, recall = right / len(found) if found else 0.0, right / len(wanted) if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall}


def _entity_set(rows: Sequence[np.ndarray]) -> set[tuple[int, ...]]:
    return {(row, *entity) for row, tags in enumerate(rows) for entity in entities(tags).tolist()}
