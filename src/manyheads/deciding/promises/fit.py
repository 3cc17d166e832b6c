"""Fit the decision of a trained head on a labelled table."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np

from manyheads.data.labelled import LabelledRows, Reading, read_labelled
from manyheads.data.tables.table import read_table
from manyheads.data.texts.texts import Texts
from manyheads.deciding.promises.decision_fit import DecisionFit
from manyheads.deciding.promises.goals import Goals
from manyheads.deciding.promises.multilabel import fit_multilabel
from manyheads.deciding.promises.one_label import LabelledLogits, fit_one_label
from manyheads.errors import HeadError, LabelError
from manyheads.heads import Decision, Head, HeadSpec, MultiLabel, OneLabelSpec
from manyheads.heads.kinds.shares import most_probable
from manyheads.types import MISSING


def fit_decision_of(
    head: Head, name: str, data: object, reading: Reading, goals: Goals, logits_of: Callable[[Texts], np.ndarray]
) -> DecisionFit:
    """Fit a decision on the labelled rows of a table, and set it.

    Args:
        head: The head.
        name: Its name.
        data: The table, see ``fit_decision``.
        reading: How texts are read from it.
        goals: What the decision should promise.
        logits_of: Returns the head's logits of texts, fp32 (rows, outputs).
    """
    goals.check_kind(head.spec, f"Head {name!r}")
    if not head.is_usable:
        raise HeadError(f"Head {name!r}: was not trained; train it before its decision is fitted")
    table = read_labelled(read_table(data), reading.text, {name: head})
    rows = table.take(table.usable_rows())
    if not len(rows):
        raise LabelError(f"{table.source}: head {name!r}: no row has both a text and a label; check the columns")
    logits = logits_of(Texts(rows.texts, np.zeros(len(rows), dtype=bool)))
    fit = _fitted(head.spec, rows, logits, head.decision, goals, name)
    head.decision = fit.decision
    return fit


@singledispatch
def _fitted(
    spec: HeadSpec, rows: LabelledRows, logits: np.ndarray, decision: Decision, goals: Goals, name: str
) -> DecisionFit:
    """Return the fit of a head, by its kind; ``logits`` are fp32 (rows, outputs)."""
    raise TypeError(f"no decision for {spec.owner}")


@_fitted.register
def _(
    spec: OneLabelSpec, rows: LabelledRows, logits: np.ndarray, decision: Decision, goals: Goals, name: str
) -> DecisionFit:
    positions = most_probable(rows.targets[name].values)
    labelled = positions != MISSING
    return fit_one_label(
        LabelledLogits(name, rows.source, spec, positions[labelled], logits[labelled]), decision, goals
    )


@_fitted.register
def _(
    spec: MultiLabel, rows: LabelledRows, logits: np.ndarray, decision: Decision, goals: Goals, name: str
) -> DecisionFit:
    targets = rows.targets[name].values
    labelled = ~np.isnan(targets).any(axis=1)
    assert goals.thresholds is not None
    return fit_multilabel(spec, targets[labelled], logits[labelled], decision, goals.thresholds, name, rows.source)
