"""Heads by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from manyheads.errors import HeadNameError, UnknownHeadError, did_you_mean, listed

Value = TypeVar("Value")


def choose_heads(heads: Mapping[str, Value], names: Iterable[str] | None) -> dict[str, Value]:
    """Return the heads of these names, or all, in the order of ``heads``.

    Raises:
        UnknownHeadError: a name that no head has.
        HeadNameError: a single string where names were expected.
    """
    if names is None:
        return dict(heads.items())
    if isinstance(names, str):
        raise HeadNameError(f"heads takes a list of names, got {names!r}; write heads=[{names!r}]")
    if not isinstance(names, Iterable):
        raise HeadNameError(f"heads takes a list of names, got {names!r}")
    wanted = list(names)
    for name in wanted:
        if not (isinstance(name, str) and name in heads):
            raise unknown_head(name, heads)
    return {name: heads[name] for name in heads if name in wanted}


def unknown_head(name: object, heads: Iterable[str]) -> UnknownHeadError:
    """Return the error for a name that no head has."""
    return UnknownHeadError(f"No head {name!r}{did_you_mean(name, heads)} The heads: {listed(heads)}")
