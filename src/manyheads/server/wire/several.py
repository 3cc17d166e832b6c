"""Lists in request bodies."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import FailFast

Item = TypeVar("Item")


class FirstProblem(FailFast):
    """Ends the validation of a list at its first problem."""

    # pydantic's own has none, so that it cannot be part of a union.
    __hash__ = object.__hash__


# A body of two million wrong items would cost seconds and hundreds of megabytes, one finding for each.
Several = Annotated[list[Item], FirstProblem()]
