"""From values to plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain_json(value: Any) -> Any:
    """Return a value of dataclasses, mappings, sequences, arrays and numbers as plain JSON: NaN as ``None``, and
    everything else as text. Fields with the metadata ``{"plain": False}`` are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        shown = [item.name for item in fields(value) if item.metadata.get("plain", True)]
        return {name: plain_json(getattr(value, name)) for name in shown}
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
