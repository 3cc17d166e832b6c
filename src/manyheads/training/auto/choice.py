"""The rule by which a method is chosen from its losses on the comparison rows.

Losses are ``RowLosses.shares``, (heads, rows) per method, the simplest method first. Methods are compared row by row,
which leaves out the difficulty that a row has for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from manyheads.training.searching.comparison import margin, negligible, simplest_near_best

# Standard errors of a difference that is no chance.
_CLEAR = 2.0


def choose(losses: Sequence[np.ndarray]) -> int:
    """Return the index of the simplest method within one standard error of the best (Breiman et al. 1984, section
    3.4.3), among those that are clearly worse than the first method for no head.
    """
    eligible = [index for index, one in enumerate(losses) if not harmed(one, losses[0])]
    return eligible[simplest_near_best([losses[index].mean(axis=0) for index in eligible])]


def harmed(losses: np.ndarray, first: np.ndarray) -> list[int]:
    """Return the heads for which a method is clearly worse than the first one."""
    return [head for head, pair in enumerate(zip(losses, first, strict=True)) if _is_clearly_worse(*pair)]


def is_clearly_behind(losses: np.ndarray, first: np.ndarray) -> bool:
    """Return whether a method is clearly worse than the first one, over all heads."""
    return _is_clearly_worse(losses.mean(axis=0), first.mean(axis=0))


def _is_clearly_worse(losses: np.ndarray, first: np.ndarray) -> bool:
    excess, error = margin(losses, first)
    return excess > max(_CLEAR * error, negligible(first))
