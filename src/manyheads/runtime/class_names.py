"""Cells of a ``datasets.ClassLabel`` column: names that remember their number."""

from __future__ import annotations


class ClassName(str):
    """The name of a class, and the number that the column has for it.

    Attributes:
        number: The number.
    """

    __slots__ = ("number",)
    number: int

    def __new__(cls, name: str, number: int) -> ClassName:
        """Return a name."""
        made = super().__new__(cls, name)
        made.number = number
        return made
