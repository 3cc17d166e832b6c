"""Confusion matrix: the darker a cell, the larger its share of the rows with that true label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.svg import caption, joined, picture, tag
from manyheads.evaluation.page.clean import label_text

_CHARACTER, _TOP = 7.0, 42.0
_MOST_CHARACTERS = 24
# Fewer labels than these fit into a narrow picture.
_FEW = 8
_NARROW, _WIDE = 420.0, 620.0


def confusion_matrix(labels: Sequence[object], counts: np.ndarray) -> Markup:
    """Return the matrix: a row per true label, a column per predicted one with the number of its label.

    Args:
        labels: At least one.
        counts: (labels, labels) numbers of rows, by true and predicted label.
    """
    names = [f"{label_text(label, _MOST_CHARACTERS)} {place + 1}" for place, label in enumerate(labels)]
    left = 8 + _CHARACTER * max(map(len, names))
    side = min(((_NARROW if len(labels) < _FEW else _WIDE) - left - 4) / len(labels), 60.0)
    height = min(side, 40.0)
    rows = counts.sum(axis=1)
    shares = counts / np.maximum(rows, 1)[:, None]
    cells = [
        _cell(int(counts[row, column]), float(shares[row, column]), (left + column * side, _TOP + row * height),
              (side, height), row == column)
        for row in range(len(labels))
        for column in range(len(labels))
        if counts[row, column] or row == column
    ]  # fmt: skip
    beside = [caption(name, left - 5, _TOP + (row + 0.5) * height + 4, "end") for row, name in enumerate(names)]
    above = [
        caption(str(column + 1), left + (column + 0.5) * side, _TOP - 6, "middle") for column in range(len(labels))
    ]
    title = caption("predicted label, by its number", left, 13, "start", "axis")
    true = caption("true label", left - 5, _TOP - 6, "end", "axis")
    right = int(np.trace(counts))
    size = (max(left + side * len(labels) + 4, left + 190), _TOP + height * len(labels) + 4)
    description = f"{right:,} of {int(rows.sum()):,} counts are on the diagonal, where the predicted label is right."
    return picture("Confusion matrix", description, size, title, true, *cells, *above, *beside)


def _cell(count: int, share: float, place: tuple[float, float], size: tuple[float, float], right: bool) -> Markup:
    box = {"x": place[0], "y": place[1], "width": size[0] - 1, "height": size[1] - 1}
    filled = tag("rect", {**box, "class": "right cell" if right else "cell", "fill-opacity": f"{share:.3f}"})
    if not count or 7 * len(f"{count}") + 2 > size[0]:
        return filled
    middle = place[0] + (size[0] - 1) / 2
    return joined([filled, caption(f"{count}", middle, place[1] + size[1] / 2 + 3.5, "middle", "count")])
