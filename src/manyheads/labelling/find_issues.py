"""Find the labels of a table that are probably wrong, on scores of heads that were trained without each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from manyheads.core import HeadedCore
from manyheads.data.labelled import Reading
from manyheads.data.tables.table import read_table
from manyheads.errors import HeadError, listed
from manyheads.evaluation.scored_rows import labelled_rows
from manyheads.heads import Head, MultiLabel
from manyheads.labelling.label_issues import LabelIssue, LabelIssues
from manyheads.labelling.suspects import Suspect, check_cleanlab, find_suspects, has_suspects
from manyheads.training.method import Method
from manyheads.training.prepare import Prepared
from manyheads.types import Tokenizer
from manyheads.validation.cross_fit import CrossFit, cross_fit


def find_label_issues(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    method: Method,
    heads: Iterable[str] | None,
    reading: Reading,
    folds: int,
    seed: int,
) -> LabelIssues:
    """Return the labels that are probably wrong; the arguments are those of ``label_issues``."""
    check_cleanlab()
    table = read_table(data)
    names = _checked(core.heads.chosen(heads), everything=heads is None)
    fitted = cross_fit(core, tokenizer, table, method, names, reading, folds, seed)
    issues = [issue for name in names for issue in _issues(name, fitted)]
    return LabelIssues(issues, table, names, fitted.notes)


def _checked(heads: Mapping[str, Head], everything: bool) -> list[str]:
    """Return the heads to check: those named, or all whose labels can be checked.

    Raises:
        HeadError: none, or one whose labels cannot be checked.
    """
    able = [name for name, head in heads.items() if has_suspects(head.spec)]
    unable = [name for name in heads if name not in able]
    if not able or (unable and not everything):
        named = f"those of {listed(unable)} cannot" if unable else "there is none"
        raise HeadError(f"Labels of Multiclass, Ordinal and MultiLabel heads can be checked; {named}; name others")
    return able


def _issues(name: str, fitted: CrossFit) -> list[LabelIssue]:
    predictions, prepared = fitted.predictions[name], fitted.prepared
    targets = prepared.data.targets[name].take(predictions.rows)
    rows, scored = predictions.rows[labelled_rows(targets.values)], predictions.scored(targets)
    found = find_suspects(predictions.spec, scored.targets, scored.scores)
    return [_issue(name, predictions.spec, suspect, int(rows[suspect.row]), prepared) for suspect in found]


def _issue(name: str, spec: Any, suspect: Suspect, row: int, prepared: Prepared) -> LabelIssue:
    given, suggested = (tuple(spec.classes[place] for place in places) for places in (suspect.given, suspect.suggested))
    if not isinstance(spec, MultiLabel):
        given, suggested = given[0], suggested[0]
    return LabelIssue(int(prepared.train_rows[row]), name, prepared.data.texts[row], given, suggested, suspect.score)
