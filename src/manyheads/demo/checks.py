"""What the demo claims, it checks: a claim that does not hold ends it."""

from __future__ import annotations

import numpy as np

from manyheads.inference import Predictions


def confirm(holds: bool, claim: str) -> None:
    """Do nothing if the claim holds.

    Raises:
        AssertionError: it does not; unlike an ``assert``, also under ``python -O``.
    """
    if not holds:
        raise AssertionError(f"manyheads demo: this should be true and is not: {claim}")


def bit_equal(mine: Predictions, theirs: Predictions) -> bool:
    """Tell whether two predictions have the same heads and the same logits, bit for bit."""
    return mine.heads == theirs.heads and all(
        np.array_equal(mine.logits[name], theirs.logits[name]) for name in mine.heads
    )
