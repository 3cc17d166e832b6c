"""Features as arrays, for users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from manyheads.errors import HeadError, InputError, counted
from manyheads.features import FeatureTable
from manyheads.heads import Ragged
from manyheads.heads.ragged import offsets_of
from manyheads.heads.windows import Windows, mean_of_windows
from manyheads.taps import BackboneTap, Tap
from manyheads.types import BackboneFacts

# Rows whose tokens are padded together.
_PADDED = 256


def check_feature_taps(taps: Sequence[Tap], facts: BackboneFacts) -> dict[Tap, BackboneTap]:
    """Return each tap with every open setting resolved, if its features can be given out.

    Raises:
        HeadError: what is no tap, one without features of its own, or one that the backbone does not provide.
    """
    resolved: dict[Tap, BackboneTap] = {}
    for tap in taps:
        if not isinstance(tap, Tap):
            raise HeadError(f"features takes taps such as mh.Hidden(layer=-2), got {tap!r}")
        found = tap.resolve(facts)
        if not isinstance(found, BackboneTap) or found.by_word or not found.needs_pass(facts):
            raise HeadError(
                f"{tap}: has no features without a head that reads it; ask for mh.Hidden(...) or mh.LMLogits(...)"
            )
        resolved[tap] = found
    return resolved


def feature_values(table: FeatureTable, rows: np.ndarray) -> Any:
    """Return the features of some rows: fp32 (rows, ...), or ``Ragged`` with (tokens, width) per row."""
    if not table.by_token:
        return table.take(rows).values.numpy()
    parts, lengths = [], []
    for start in range(0, len(rows), _PADDED):
        features = table.take(rows[start : start + _PADDED])
        assert features.mask is not None, "features by token have a mask"
        parts.append(features.values[features.mask].numpy())
        lengths.append(features.mask.sum(dim=1).numpy())
    return Ragged(np.concatenate(parts), offsets_of(np.concatenate(lengths)))


def join_values(parts: Sequence[Any], tap: BackboneTap, facts: BackboneFacts) -> Any:
    """Return the features of several parts end to end; those of no rows have the width of the tap."""
    if not parts:
        return np.empty((0, tap.width(facts)), np.float32)
    if isinstance(parts[0], Ragged):
        return Ragged.joined(parts)
    return np.concatenate(parts)


def values_of_texts(values: Any, windows: Windows, tap: Tap) -> Any:
    """Return the features of texts: the mean of each one's windows.

    Raises:
        InputError: features by token, and a text in several windows.
    """
    if not windows.split.any():
        return values
    if isinstance(values, Ragged):
        raise InputError(
            f"{tap}: has features of every token, which {counted(int(windows.split.sum()), 'text')} in several windows "
            "would repeat; take a pooled tap, or long_text='truncate'"
        )
    return windows.pooled(values, mean_of_windows)
