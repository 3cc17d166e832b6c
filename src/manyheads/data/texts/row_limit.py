"""The most tokens of a row."""

from __future__ import annotations

from manyheads.errors import InputError


def row_limit(max_length: int | None, limit: int | None) -> int | None:
    """Return the most tokens of a row, special tokens included; ``None`` for no limit.

    Args:
        max_length: What the caller wants; ``None`` for the backbone's limit.
        limit: The backbone's limit, if it has one.

    Raises:
        InputError: a ``max_length`` that is no positive number, or beyond the backbone's limit.
    """
    if max_length is None:
        return limit
    if isinstance(max_length, bool) or not isinstance(max_length, int):
        raise InputError(f"max_length must be a whole number of tokens, got {max_length!r}")
    if max_length < 1 or (limit is not None and max_length > limit):
        raise InputError(f"max_length must lie between 1 and the backbone's limit {limit}, got {max_length}")
    return max_length
