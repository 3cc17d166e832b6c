"""Confusion matrix: the darker a cell, the larger its share of the rows with that true label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.svg import caption, joined, picture, tag
from manyheads.evaluation.page.charts.kit.text_width import fitted, text_width
from manyheads.evaluation.page.clean import label_text

_TOP, _GAP = 42.0, 5.0
_NAME_WIDTH, _LEAST_LEFT = 170.0, 76.0
# After a name that is written from right to left, its number stands on the right too.
_LEFT_TO_RIGHT = "\N{LEFT-TO-RIGHT MARK}"
# Fewer labels than these fit into a narrow picture.
_FEW = 8
_NARROW, _WIDE = 420.0, 620.0
_MOST_WIDTH, _MOST_HEIGHT, _TITLE_WIDTH = 60.0, 40.0, 190.0


@dataclass(frozen=True)
class _Grid:
    """The cells' left edge, their number in each direction, their width and their height."""

    left: float
    count: int
    width: float
    height: float

    def corner(self, row: float, column: float) -> tuple[float, float]:
        return self.left + column * self.width, _TOP + row * self.height


def confusion_matrix(labels: Sequence[object], counts: np.ndarray, rows: np.ndarray) -> Markup:
    """Return the matrix: a row per true label, a column per predicted one with the number of its label.

    Args:
        labels: At least one.
        counts: (labels, labels) numbers of rows, by true and predicted label.
        rows: (labels,) numbers of rows with each true label, also of those whose predicted label is not shown.
    """
    names = [_name(label, place) for place, label in enumerate(labels, start=1)]
    grid = _grid(names)
    right, bottom = grid.corner(grid.count, grid.count)
    size = max(right, grid.left + _TITLE_WIDTH) + 4, bottom + 4
    shown, every = int(np.trace(counts)), int(counts.sum())
    description = f"{shown:,} of {every:,} counts are on the diagonal, where the predicted label is right."
    return picture("Confusion matrix", description, size, *_headers(names, grid), *_cells(counts, rows, grid))


def _name(label: object, place: int) -> str:
    return f"{fitted(label_text(label), _NAME_WIDTH)}{_LEFT_TO_RIGHT} {place}"


def _grid(names: Sequence[str]) -> _Grid:
    left = max(8 + max(map(text_width, names)), _LEAST_LEFT)
    room = (_NARROW if len(names) < _FEW else _WIDE) - left
    width = min(room / len(names), _MOST_WIDTH)
    return _Grid(left, len(names), width, min(width, _MOST_HEIGHT))


def _headers(names: Sequence[str], grid: _Grid) -> Iterator[Markup]:
    """Yield the names beside the rows, and their numbers above the columns."""
    yield caption("predicted label, by its number", grid.left, 13, "start", "axis")
    yield caption("true label", grid.left - _GAP, _TOP - 6, "end", "axis")
    for place, name in enumerate(names):
        yield caption(name, grid.left - _GAP, grid.corner(place + 0.5, 0)[1] + 4, "end")
        yield caption(f"{place + 1}", grid.corner(0, place + 0.5)[0], _TOP - 6, "middle")


def _cells(counts: np.ndarray, rows: np.ndarray, grid: _Grid) -> Iterator[Markup]:
    """Yield the cells with a count, and all of the diagonal."""
    shares = counts / np.maximum(rows, 1)[:, None]
    for row, column in np.argwhere((counts > 0) | np.eye(grid.count, dtype=bool)).tolist():
        yield _cell(int(counts[row, column]), float(shares[row, column]), grid, row, column)


def _cell(count: int, share: float, grid: _Grid, row: int, column: int) -> Markup:
    x, y = grid.corner(row, column)
    style = "right cell" if row == column else "cell"
    box = {"x": x, "y": y, "width": grid.width - 1, "height": grid.height - 1}
    filled = tag("rect", {**box, "class": style, "fill-opacity": f"{share:.3f}"})
    text = f"{count}"
    if not count or 6.5 * len(text) + 1 > grid.width:
        return filled
    return joined([filled, caption(text, x + (grid.width - 1) / 2, y + grid.height / 2 + 3.5, "middle", "count")])
