"""How the heads of a saved model were trained and how well they did, from the summary that is saved with each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from manyheads.checkpoint.format import HeadRecord

# Entries of a summary that are no settings of the method.
_NO_SETTINGS = frozenset({"method", "text", "weight", "settings", "metrics", "label_rows", "lm_check"})
# Metrics that describe the rows, predictions without the texts, or other thresholds than those of the head.
_NO_RESULTS = re.compile("rows|majority_.*|.*_at_half")
# A setting as text must be no path, and needs no escapes.
_PLAIN = re.compile(r"[\w.-]+")
_DIGITS = 4


def metrics_of(head: HeadRecord) -> dict[str, float]:
    """Return the results of a head on its evaluation rows, rounded; none if it had no evaluation rows."""
    measured = _numbers(head.summary.get("metrics"))
    return {name: value for name, value in measured.items() if not _NO_RESULTS.fullmatch(name)}


def majority_of(head: HeadRecord) -> float | None:
    """Return the accuracy of always predicting the most frequent label, if it was measured."""
    return _numbers(head.summary.get("metrics")).get("majority_accuracy")


def rows_of(head: HeadRecord, part: str) -> int | None:
    """Return the number of labelled rows in ``"train"`` or ``"evaluate"``, ``None`` if not recorded."""
    return _entries(head.summary.get("rows")).get(part)


def text_columns(head: HeadRecord) -> list[str]:
    """Return the names of the columns of the texts, two for pairs; none if not recorded."""
    text = head.summary.get("text")
    return list(map(str, text)) if isinstance(text, list) else [] if text is None else [str(text)]


def label_rows(head: HeadRecord) -> list[int] | None:
    """Return the number of training rows with each label, ``None`` if not recorded for its present labels."""
    counts, labels = head.summary.get("label_rows"), getattr(head.spec, "labels", ())
    return counts if isinstance(counts, list) and len(counts) == len(labels) else None


def perplexities(head: HeadRecord) -> tuple[float, float] | None:
    """Return the language model's perplexity before and after the head's training, if it was measured."""
    check = _entries(head.summary.get("lm_check"))
    before, after = check.get("reference_perplexity"), check.get("perplexity")
    return None if before is None or after is None else (before, after)


def settings_of(head: HeadRecord) -> str:
    """Return the method's settings and those that training chose, as text."""
    given = {key: value for key, value in head.summary.items() if key not in _NO_SETTINGS}
    settings = given | dict(_entries(head.summary.get("settings")))
    return ", ".join(f"{key} {_shown(value)}" for key, value in settings.items() if _is_plain(key) and _is_plain(value))


def _numbers(values: object) -> dict[str, float]:
    found = {name: value for name, value in _entries(values).items() if isinstance(value, int | float)}
    return {name: round(value, _DIGITS) for name, value in found.items() if _is_plain(name)}


def _entries(values: object) -> Mapping[str, Any]:
    """Return an entry of a summary that should be an object; a summary may be anybody's."""
    return values if isinstance(values, Mapping) else {}


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and _PLAIN.fullmatch(value) is not None)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
