"""How a head was trained: its settings, and its losses by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manyheads.evaluation.page.blocks import Block, Folded, Pictures, Section, Sentences, Table
from manyheads.evaluation.page.charts.lines import lines_over_epochs
from manyheads.evaluation.page.clean import label_text
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.wording import words

_LOSSES = {"loss": "training rows", "held_out_loss": "held-out rows"}
_NO_METRICS = frozenset({"epoch", "rows", *_LOSSES})
# Records of the summary that are shown elsewhere, or not for people.
_ELSEWHERE = frozenset({"tried", "history", "metrics", "rows", "settings", "lm_check", "auto", "temperature"})


def training_section(subject: Subject) -> Section | None:
    """Return the settings, and the epochs of heads that were trained by steps."""
    summary = {} if subject.made is None else subject.made.summary
    settings = _settings(summary)
    if not settings:
        return None
    table = Folded("Settings", [Table("Settings of the training", ["setting", "value"], settings, ["value"])])
    return Section("How it was trained", "", [Sentences([_sentence(summary)]), *_history(summary), table])


def _sentence(summary: Mapping[str, Any]) -> str:
    rows = summary.get("rows", {}).get("train")
    on = "" if rows is None else f" on {rows:,} rows"
    return f"Trained with {summary.get('method', 'an unknown method')}{on}."


def _settings(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return names and values of the settings."""
    own = {name: value for name, value in summary.items() if name not in _ELSEWHERE and value is not None}
    found = own | {f"chosen {name}": value for name, value in summary.get("settings", {}).items()}
    return [[words(name), label_text(value)] for name, value in found.items()]


def _history(summary: Mapping[str, Any]) -> Iterator[Block]:
    """Yield pictures of the losses and the main metric by epoch, with at least two epochs."""
    history = summary.get("history", [])
    losses = {name: _points(history, key) for key, name in _LOSSES.items()}
    lines = [("loss", {name: points for name, points in losses.items() if len(points) > 1})]
    metric = next((name for record in history for name in record if name not in _NO_METRICS), "")
    lines += [(words(name), {"": _points(history, name)}) for name in dict.fromkeys((metric, "log_loss"))]
    pictures = [lines_over_epochs(title, named) for title, named in lines if any(map(_has_line, named.values()))]
    if pictures:
        yield Pictures(pictures, "A dot per epoch; epoch 0 is before the first step.")


def _has_line(points: Sequence[tuple[float, float]]) -> bool:
    return len(points) > 1


def _points(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(float(one["epoch"]), float(one[key])) for one in history if one.get(key) is not None and "epoch" in one]
