"""What is unusual about a text that was predicted, as a column of a scored table."""

from __future__ import annotations

import numpy as np

from manyheads.inference.predictions import Predictions

FLAG_COLUMN = "text_flag"


def flags_of(predictions: Predictions) -> list[str | None]:
    """Return ``"empty"``, ``"truncated"`` or ``None`` for each text."""
    flags = np.where(predictions.empty, "empty", np.where(predictions.truncated, "truncated", ""))
    return [str(flag) or None for flag in flags]
