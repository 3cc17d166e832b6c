"""Lists and objects of any size in request bodies, which must not have as many problems as items."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, FailFast

Item = TypeVar("Item")


class FirstProblem(FailFast):
    """Ends the validation of a list at its first problem."""

    # pydantic's own has none, so that it cannot be part of a union.
    __hash__ = object.__hash__


# A body of two million wrong items would cost seconds and hundreds of megabytes, one finding for each.
Several = Annotated[list[Item], FirstProblem()]

# More than any question has options, and any request questions.
_MOST_NAMES = 1024


def _check_count(given: Any) -> Any:
    if isinstance(given, dict) and len(given) > _MOST_NAMES:
        raise ValueError(f"has {len(given):,} names, at most {_MOST_NAMES:,} are allowed")
    return given


# The same for the values of an object.
Named = Annotated[dict[str, Item], BeforeValidator(_check_count)]
