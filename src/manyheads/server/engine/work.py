"""The contract of work: what a request wants computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from manyheads.server.served import Served

Answer = TypeVar("Answer")


class Work(ABC, Generic[Answer]):
    """What a request wants computed; works of one group are computed together."""

    @property
    @abstractmethod
    def group(self) -> Hashable:
        """What works must have in common to be computed together; the class is compared besides."""

    @property
    @abstractmethod
    def size(self) -> int:
        """About how many tokens it has."""

    @property
    def rows(self) -> int:
        """How many texts it has."""
        return 1

    @abstractmethod
    def run(self, served: Served, others: Sequence[Work[Answer]]) -> list[Answer | Exception]:
        """Compute this work and others of its group, and return the answer or the error of each, this one first."""


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has: one per four bytes, so about one per character of a language without
    spaces."""
    return (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))) // 4 + 1
