"""Split a table so that equal texts are on one side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from manyheads.errors import DataError

AnyTexts = Sequence[str] | Sequence[tuple[str, str]]


def split_by_text(
    texts: AnyTexts, fraction: float, seed: int, classes: Sequence[AbstractSet[Hashable]] = ()
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to train on and the rows to evaluate on, at random, each text on one side only.

    Texts that differ only in case or outer spaces count as equal. Each class keeps a text to train on, and gives about
    the same share of its rows to the evaluation.

    Args:
        texts: One text or pair per row.
        fraction: Share of the rows to evaluate on, between 0 and 1; as near below it as the groups allow.
        seed: Decides the draw; the same seed gives the same parts.
        classes: The classes of each row, of all heads together.

    Returns:
        Row numbers from 0, sorted, int64: (training rows,), (evaluation rows,). The latter are none if every text is
        the only one of a class.

    Raises:
        DataError: a fraction out of range, or fewer than two different texts.
    """
    if not 0.0 < fraction < 1.0:
        raise DataError(f"the evaluation fraction must lie between 0 and 1, got {fraction!r}; 0.1 is usual")
    group_of, sizes = _groups(texts)
    if len(sizes) < 2:
        raise DataError(
            f"cannot split {len(texts)} rows: it takes two different texts, got {len(sizes)}; add rows, or give the "
            "evaluation rows as a table of their own"
        )
    wanted = max(1, round(fraction * len(texts)))
    if any(classes):
        chosen = _Stratified(group_of, sizes, classes, fraction).choose(wanted, seed)
    else:
        chosen = _choose(sizes, wanted, seed)
    evaluated = chosen[group_of]
    return np.flatnonzero(~evaluated), np.flatnonzero(evaluated)


def folds_by_text(
    texts: AnyTexts, folds: int, seed: int, classes: Sequence[AbstractSet[Hashable]] = ()
) -> NDArray[np.int64]:
    """Return the fold of every row, 0 to ``folds - 1``, of like sizes, each text in one fold only.

    Args:
        texts: One text or pair per row.
        folds: How many, at least 2.
        seed: Decides the draw; the same seed gives the same folds.
        classes: The classes of each row, which are spread evenly over the folds.

    Returns:
        int64 (rows,).

    Raises:
        DataError: fewer than two folds, or fewer different texts than folds.
    """
    group_of, sizes = _groups(texts)
    if not 2 <= folds <= len(sizes):
        raise DataError(
            f"the number of folds must lie between 2 and {len(sizes)}, the number of different texts, got {folds!r}; "
            "take fewer folds, or add rows"
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    largest_first = order[np.argsort(-sizes[order], kind="stable")]
    classes_of: list[set[Hashable]] = [set() for _ in sizes]
    for group, found in zip(group_of.tolist(), classes, strict=False):
        classes_of[group] |= found
    fold_of = np.empty(len(sizes), dtype=np.int64)
    loads = [0] * folds
    groups_with: list[Counter[Hashable]] = [Counter() for _ in range(folds)]
    for group in largest_first.tolist():
        own = classes_of[group]
        fold = min(range(folds), key=lambda each: (sum(groups_with[each][name] for name in own), loads[each], each))
        fold_of[group] = fold
        loads[fold] += int(sizes[group])
        groups_with[fold].update(own)
    return fold_of[group_of]


def first_of_each(texts: AnyTexts) -> NDArray[np.int64]:
    """Return the first row of each different text, int64; case and outer spaces are ignored."""
    group_of, _ = _groups(texts)
    return np.sort(np.unique(group_of, return_index=True)[1]).astype(np.int64)


def group_of_each(texts: AnyTexts) -> NDArray[np.int64]:
    """Return the group of every row, int64 from 0: equal texts have one; case and outer spaces are ignored."""
    return _groups(texts)[0]


def _groups(texts: AnyTexts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the group of every row, and the number of rows of every group."""
    numbers: dict[object, int] = {}
    group_of = np.array([numbers.setdefault(_key(text), len(numbers)) for text in texts], dtype=np.int64)
    return group_of, np.bincount(group_of, minlength=len(numbers)).astype(np.int64)


def _key(text: str | tuple[str, str]) -> object:
    return text.strip().casefold() if isinstance(text, str) else tuple(part.strip().casefold() for part in text)


def _choose(sizes: NDArray[np.int64], wanted: int, seed: int) -> NDArray[np.bool_]:
    """Draw groups until ``wanted`` rows are there; a group that would overshoot is passed over."""
    chosen = np.zeros(len(sizes), dtype=np.bool_)
    room = min(wanted, int(sizes.sum()) - 1)
    order = np.random.default_rng(seed).permutation(len(sizes))
    for group in order:
        if sizes[group] <= room:
            chosen[group] = True
            room -= int(sizes[group])
        if room == 0:
            break
    if not chosen.any():
        chosen[order[np.argmin(sizes[order])]] = True
    return chosen


class _Stratified:
    """Draws groups of equal texts for evaluation, so that classes are represented on both sides.

    Args:
        group_of: The group of each row.
        sizes: Number of rows of each group.
        classes: The classes of each row.
        fraction: Share of the rows to evaluate on.
    """

    def __init__(
        self,
        group_of: NDArray[np.int64],
        sizes: NDArray[np.int64],
        classes: Sequence[AbstractSet[Hashable]],
        fraction: float,
    ) -> None:
        self._sizes = sizes
        # Rows of each class in each group.
        self._rows: list[Counter[Hashable]] = [Counter() for _ in sizes]
        for group, found in zip(group_of.tolist(), classes, strict=True):
            self._rows[group].update(found)
        # Groups of each class that are left to train on, and rows of each class that the evaluation may still take.
        self._groups_left = Counter(name for rows in self._rows for name in rows)
        totals: Counter[Hashable] = sum(self._rows, Counter())
        self._room = {name: math.ceil(fraction * count) for name, count in totals.items()}

    def choose(self, wanted: int, seed: int) -> NDArray[np.bool_]:
        """Return booleans (groups,): those to evaluate on, with at most ``wanted`` rows."""
        chosen = np.zeros(len(self._sizes), dtype=np.bool_)
        room = min(wanted, int(self._sizes.sum()) - 1)
        order = np.random.default_rng(seed).permutation(len(self._sizes)).tolist()
        # First by the share of each class, then, if several heads leave too few rows so, by the rule alone that every
        # class keeps a text.
        for by_share in (True, False):
            for group in order:
                if not chosen[group] and self._sizes[group] <= room and self._allows(group, by_share):
                    chosen[group] = True
                    room -= int(self._sizes[group])
                    self._groups_left.subtract(list(self._rows[group]))
                    for name, count in self._rows[group].items():
                        self._room[name] -= count
        return chosen

    def _allows(self, group: int, by_share: bool) -> bool:
        rows = self._rows[group].items()
        if by_share and any(self._room[name] < count for name, count in rows):
            return False
        return all(self._groups_left[name] > 1 for name, _ in rows)
