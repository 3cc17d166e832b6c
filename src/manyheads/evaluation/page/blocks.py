"""Parts of a section, each shown by the template that bears its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup


class Block:
    """A part of a section."""

    template: ClassVar[str]


@dataclass(frozen=True)
class Pictures(Block):
    """Pictures side by side.

    Attributes:
        each: SVG.
        legend: How to read them.
        sentences: What they show.
    """

    template: ClassVar[str] = "pictures"

    each: Sequence[Markup]
    legend: str
    sentences: Sequence[str] = ()


@dataclass(frozen=True)
class Term:
    """A cell that explains itself when opened.

    Attributes:
        name: The word.
        meaning: What it means.
    """

    name: str
    meaning: str


Cell = str | Markup | Term


@dataclass(frozen=True)
class Table(Block):
    """A table; the first cell of a row is its header.

    Attributes:
        caption: What it shows.
        columns: The headers of the columns.
        rows: Their cells.
        words: Headers of columns of words; all other columns are numbers, and the first is always words.
    """

    template: ClassVar[str] = "table"

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Example:
    """A row of the table with its text.

    Attributes:
        row: Its number, from 1.
        text: The text.
        facts: Names and values, such as ``("true", "urgent")``.
    """

    row: int
    text: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Examples(Block):
    """Rows of the table with their texts."""

    template: ClassVar[str] = "examples"

    each: Sequence[Example]


@dataclass(frozen=True)
class Sentences(Block):
    """Sentences, each on its own line."""

    template: ClassVar[str] = "sentences"

    each: Sequence[str]


@dataclass(frozen=True)
class Folded(Block):
    """Blocks that are shown when their title is opened."""

    template: ClassVar[str] = "folded"

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """A part of a head's report.

    Attributes:
        title: Its heading.
        about: What it shows and how it is computed.
        blocks: Its parts, at least one.
    """

    title: str
    about: str
    blocks: Sequence[Block]


def folded_after(count: int, rows: Sequence[Any], block: Any, title: str) -> list[Block]:
    """Return a block of the first rows, and a folded one of all others.

    Args:
        count: How many rows are shown at once.
        rows: The rows.
        block: From rows to their block.
        title: The title of the folded ones; ``{}`` in it is their number.
    """
    rest = rows[count:]
    return [block(rows[:count]), *([Folded(title.format(len(rest)), [block(rest)])] if rest else [])]
