"""Label names: their order, their type, and how a cell finds its label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from manyheads.errors import HeadError, LabelError, did_you_mean, listed
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.label_text import canonical, number_of
from manyheads.runtime.class_names import ClassName
from manyheads.runtime.lists import plain


def checked_labels(owner: str, labels: object, least: int) -> tuple[object, ...]:
    """Return label names as a tuple of plain str, int, float or bool, in the order given.

    Raises:
        HeadError: fewer than ``least``, a repeated one, or one of another type.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence | np.ndarray):
        raise HeadError(f"{owner}: labels must be a list of names, got {labels!r}")
    names = tuple(str(label) if isinstance(label, ClassName) else plain(label) for label in labels)
    for name in names:
        number = isinstance(name, int | float) and math.isfinite(name)
        if not number and (is_missing(name) or not isinstance(name, str)):
            raise HeadError(f"{owner}: a label must be a non-empty string or a finite number, got {name!r}")
    broken = [name for name in names if isinstance(name, str) and not _is_unicode(name)]
    if broken:
        raise HeadError(f"{owner}: a label must be Unicode, got half a surrogate pair in {broken[0]!r}")
    if len(set(names)) != len(names):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        raise HeadError(f"{owner}: labels must differ, these occur twice: {listed(twice)}")
    if len(names) < least:
        raise HeadError(f"{owner}: needs at least {least} labels, got {listed(names)}")
    return names


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class LabelIndex:
    """From a label value to its position; a value of another type is found by its text if that is unambiguous."""

    def __init__(self, labels: Iterable[object]) -> None:
        self.labels = tuple(labels)
        self._exact = {label: position for position, label in enumerate(self.labels)}
        self._text = {str(label): position for position, label in enumerate(self.labels)}
        self._canonical = _unambiguous(canonical(str(label)) for label in self.labels)
        self._number = _unambiguous(number_of(str(label)) for label in self.labels)

    def find(self, label: object) -> int | None:
        """Return the position of a label, or ``None``: the label itself, its text, a text that looks alike, its number,
        or the number that stands for its name in a ``datasets.ClassLabel``.
        """
        label = plain(label)
        if isinstance(label, bool):
            return self._exact.get(label, self._text.get(str(label)))
        if isinstance(label, str | int | float) and label in self._exact:
            return self._exact[label]
        text = _text(label)
        found = self._text.get(text, self._canonical.get(canonical(text)))
        if found is None:
            found = self._number.get(number_of(text))
        if found is None and isinstance(label, ClassName):
            found = self._exact.get(label.number)
        return found

    def position(self, label: object, row: int, head: str, source: str) -> int:
        """Return the position of ``label``.

        Raises:
            LabelError: the head does not have it; names head, row and the closest known label.
        """
        found = self.find(label)
        if found is None:
            raise LabelError(
                f"{source}: head {head!r}: label {label!r} (row {row + 1}) is not among {len(self.labels)} labels"
                f"{did_you_mean(label, self.labels)} Correct the column, or add the label to the head."
            )
        return found


def _unambiguous(keys: Iterable[Any]) -> dict[Any, int]:
    """Return the position of each key that occurs once and is not ``None``."""
    listed_keys = list(keys)
    counts = Counter(listed_keys)
    return {key: position for position, key in enumerate(listed_keys) if key is not None and counts[key] == 1}


def _text(label: object) -> str:
    """Return a label's text; a whole float (an integer column with gaps, in pandas) reads as its integer."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()


def label_array(labels: Sequence[object]) -> np.ndarray:
    """Return label names as an array that positions can index: a plain dtype if they share one type, else objects."""
    kinds = {type(label) for label in labels}
    if len(kinds) == 1 and kinds <= {int, float, bool}:
        return np.array(labels)
    names = np.empty(len(labels), dtype=object)
    names[:] = labels
    return names
