"""What is unusual about a text that was predicted, as a column of a scored table."""

from __future__ import annotations

import numpy as np

from manyheads.inference.predictions import Predictions

FLAG_COLUMN = "text_flag"


def flags_of(predictions: Predictions) -> list[str | None]:
    """Return ``"empty"``, ``"truncated"``, ``"split"`` or ``None`` for each text."""
    known = {"empty": predictions.empty, "truncated": predictions.truncated, "split": predictions.split}
    flags = np.select(list(known.values()), list(known), default="")
    return [str(flag) or None for flag in flags]
