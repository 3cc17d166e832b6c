"""The texts of a table or a list, empty ones kept and flagged."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyheads.data.tables.cells import plain_cell
from manyheads.data.tables.plain_text import is_broken
from manyheads.data.texts.words import find_words, joined
from manyheads.errors import TextError
from manyheads.runtime.lists import is_list, list_items
from manyheads.runtime.words import Place

if TYPE_CHECKING:
    from manyheads.data.tables.table import Table

TextColumns = str | Sequence[str]


@dataclass(frozen=True, eq=False)
class Texts:
    """One text, or one pair of texts, per row.

    Attributes:
        texts: The texts; a missing or empty one is ``""``.
        empty: (rows,) booleans: rows without text; a pair if both are empty.
        given: Row -> the characters of its words, for rows that are lists of words.
    """

    texts: list[str] | list[tuple[str, str]]
    empty: NDArray[np.bool_]
    given: Mapping[int, list[Place]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, rows: NDArray[np.int64]) -> Texts:
        """Return some rows."""
        given = {place: self.given[row] for place, row in enumerate(rows.tolist()) if row in self.given}
        return Texts([self.texts[row] for row in rows], self.empty[rows], given)

    @staticmethod
    def joined(parts: Sequence[Texts]) -> Texts:
        """Return the texts of several parts, all of them single texts or all pairs, one after the other."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *map(len, parts)]).tolist()
        given = {
            start + row: words for start, part in zip(starts, parts, strict=False) for row, words in part.given.items()
        }
        texts: list[Any] = [text for part in parts for text in part.texts]
        return Texts(texts, np.concatenate([part.empty for part in parts]), given)

    def words(self, rule: str) -> list[list[Place]]:
        """Return the characters of each text's words: the given words, or those that the rule finds.

        Args:
            rule: See ``data.texts.words.find_words``.

        Raises:
            TextError: pairs of texts.
        """
        found: list[list[Place]] = []
        for row, text in enumerate(self.texts):
            if not isinstance(text, str):
                raise TextError(
                    "token heads label the words of one text, got pairs of texts; join each pair, or name one"
                )
            found.append(self.given[row] if row in self.given else find_words(text, rule))
        return found


def read_texts(table: Table, text: TextColumns) -> Texts:
    """Return the texts of a table.

    Args:
        table: The table. A cell may be a list of strings: the words of a text, which are joined by spaces.
        text: A column's name, or a pair of names for a tokenizer that takes text pairs.

    Raises:
        MissingColumnError: no column of that name.
        TextError: a cell that is not a string, with its column and row (from 1); or not one or two names.
    """
    if isinstance(text, str):
        cells = table.values(text)
        return _single(cells, [f"{table.name}, column {text!r}, row {row}" for row in range(1, len(cells) + 1)])
    if not isinstance(text, Sequence) or len(text) != 2 or not all(isinstance(name, str) for name in text):
        raise TextError(f"{table.name}: text must be one column name or a pair of them, got {text!r}")
    return _paired(_column_texts(table, text[0]), _column_texts(table, text[1]))


def read_texts_from_list(items: Iterable[object], first: int = 1) -> Texts:
    """Return the texts of a list, as ``model.predict`` takes it.

    Args:
        items: Any sequence or column of strings, lists of the words of a text, or tuples, which are pairs of texts;
            ``None`` is an empty text.
            Beside a tuple, a list of two is a pair too.
        first: The number of the first one in messages.

    Raises:
        TextError: a bare string instead of a list, an item that is neither, or strings and pairs together.
    """
    if _is_arrow_column(items):
        items = items.to_pylist()  # type: ignore[attr-defined]
    check_is_list(items)
    cells = [plain_cell(item) for item in items]
    present = [(number, cell) for number, cell in enumerate(cells, start=first) if cell is not None]
    if not any(_is_pair(cell) and isinstance(cell, tuple) for _, cell in present):
        return _single(cells, [f"The list of texts, row {row}" for row in range(first, first + len(cells))])
    for number, cell in present:
        if not _is_pair(cell):
            raise TextError(
                f"The list of texts, row {number}: other rows are pairs, got {_shown(cell)}; "
                "give all texts as pairs, or none"
            )
    pairs = [cell if isinstance(cell, Sequence) else (None, None) for cell in cells]
    sides = [
        [_text(plain_cell(pair[side]), f"The list of texts, row {row}") for row, pair in enumerate(pairs, start=first)]
        for side in (0, 1)
    ]
    return _paired(sides[0], sides[1])


def _is_arrow_column(items: object) -> bool:
    """Return whether an object is a column of Arrow, which need not be installed."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(items, arrow.Array | arrow.ChunkedArray)


def check_is_list(items: object) -> None:
    """Check that an object holds texts, one after the other.

    Raises:
        TextError: a bare string, a table, or anything else that has no order or no texts.
    """
    step = _step_to_list(items)
    if step is not None:
        raise TextError(f"texts must be a list, got {_shown(items)}; {step}")


def _step_to_list(items: object) -> str | None:
    """Return what to give instead of an object that is no list of texts; ``None`` for such a list."""
    if isinstance(items, str):
        return "wrap it in a list: [text]"
    if isinstance(items, set | frozenset):
        return "a set has no order; give a list"
    if isinstance(items, io.IOBase):
        return "give its lines, or read it as a table: read().splitlines()"
    if isinstance(items, Mapping):
        return "give the texts of one key: data['text']"
    if hasattr(items, "columns") or hasattr(items, "column_names"):
        return "give one column: table['text']"
    return None if isinstance(items, Iterable) and not isinstance(items, bytes) else "give a list such as ['text', ...]"


def _is_pair(cell: object) -> bool:
    return isinstance(cell, tuple | list) and len(cell) == 2


def _column_texts(table: Table, column: str) -> list[str]:
    cells = table.values(column)
    return [_text(cell, f"{table.name}, column {column!r}, row {row}") for row, cell in enumerate(cells, start=1)]


def _text(cell: object, place: str) -> str:
    """Return a cell's text, ``""`` where there is none."""
    if cell is None:
        return ""
    problem = _problem(cell)
    if problem is not None:
        raise TextError(f"{place}: {problem}")
    return str(cell) if str(cell).strip() else ""


def _problem(cell: object) -> str | None:
    """Return why a cell that is not missing is no text, or ``None``."""
    if not isinstance(cell, str):
        return f"a text must be a string, got {_shown(cell)}; convert it to text first"
    if is_broken(cell):
        return f"a text must be Unicode, got half a surrogate pair in {_shown(cell)}; repair the text"
    return None


def text_problem(cell: object, column: str) -> str | None:
    """Return why a cell is neither a text, nor missing, nor a list of words, or ``None`` if it is one of these."""
    try:
        _joined([cell], [f"column {column!r}"])
    except TextError as error:
        return str(error)
    return None


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"


def texts_of_cells(columns: Sequence[Sequence[object]], listed: bool) -> Texts:
    """Return the texts of some rows of a table.

    Args:
        columns: The cells of one column of texts, or of two for pairs, in which ``text_problem`` finds no problem.
        listed: Whether cells that are lists of words written as text are such lists; see ``are_listed_words``.

    Raises:
        TextError: a list of words in one of two columns.
    """
    places = [f"row {row}" for row in range(1, len(columns[0]) + 1)]
    if len(columns) == 1:
        return _joined(_split_lists(columns[0]) if listed else columns[0], places)
    first, second = ([_text(cell, place) for cell, place in zip(cells, places, strict=True)] for cells in columns)
    return _paired(first, second)


def are_listed_words(cells: Sequence[object]) -> bool:
    """Return whether all cells are texts of lists of words: JSON, or what pandas writes into a CSV file."""
    present = [cell for cell in cells if cell is not None and cell != ""]
    return bool(present) and all(isinstance(cell, str) and is_list(cell) for cell in present)


def _single(cells: Sequence[object], places: Sequence[str]) -> Texts:
    return _joined(_split_lists(cells) if are_listed_words(cells) else cells, places)


def _split_lists(cells: Sequence[object]) -> Sequence[object]:
    return [list_items(cell) if isinstance(cell, str) and is_list(cell) else cell for cell in cells]


def _joined(cells: Sequence[object], places: Sequence[str]) -> Texts:
    texts: list[str] = []
    given: dict[int, list[Place]] = {}
    for row, (cell, place) in enumerate(zip(cells, places, strict=True)):
        if isinstance(cell, list):
            text, given[row] = joined([_word(word, f"{place}, word {at}") for at, word in enumerate(cell, start=1)])
            texts.append(text if text.strip() else "")
        else:
            texts.append(_text(cell, place))
    return Texts(texts, np.array([not text for text in texts], dtype=np.bool_), given)


def _word(cell: object, place: str) -> str:
    """Return a word; a missing one is ``""``, which keeps the others' numbers."""
    word = plain_cell(cell)
    return _text(word, place) if word is None or not isinstance(word, str) or word.strip() else word


def _paired(first: list[str], second: list[str]) -> Texts:
    pairs = list(zip(first, second, strict=True))
    return Texts(pairs, np.array([not a and not b for a, b in pairs], dtype=np.bool_))
