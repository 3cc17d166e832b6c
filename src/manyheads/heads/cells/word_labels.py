"""Label cells for the words of a text: tags or spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from manyheads.errors import LabelError
from manyheads.heads.cells.entities import scheme_of
from manyheads.heads.cells.spans import LabelSpan, SplitText, is_span, listed_items, read_span
from manyheads.runtime.lists import is_list, list_items, plain


def parsed(cell: object, place: str) -> list[object] | list[LabelSpan]:
    """Return a cell as a list of tags, or of spans.

    Args:
        cell: Tags (scalars), spans in the form of an annotation tool (see ``read_span``), or the text of such a list.
        place: The cell's place, for messages.

    Raises:
        LabelError: something else.
    """
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    items = str(cell).split() if is_tags(cell) else listed_items(cell)
    if items is None and is_list(cell):
        items = list_items(cell)
    if items is None:
        keys = f" with the keys {sorted(map(str, cell))}" if isinstance(cell, Mapping) else ""
        raise LabelError(
            f"{place}: {cell!r:.60}{keys} is neither a list of tags, one per word, nor a list of spans with 'start', "
            "'end' and 'label'; correct the cell, or leave it empty if it is missing"
        )
    spans = [isinstance(item, Mapping | list | tuple) for item in items]
    if any(spans) and not all(spans):
        raise LabelError(f"{place}: mixes tags and spans; give a list of either")
    return [read_span(item, place) for item in items] if any(spans) else [plain(item) for item in items]


def is_spans(cell: object) -> bool:
    """Return whether a cell contains at least one span and nothing else."""
    items = listed_items(cell.tolist() if isinstance(cell, np.ndarray) else cell) or []
    return bool(items) and all(is_span(item) for item in items)


def is_tags(cell: object) -> bool:
    """Return whether a cell is a text of two or more tags of entities with spaces between: ``O B-place I-place``."""
    tags = cell.split() if isinstance(cell, str) else []
    return len(tags) > 1 and scheme_of(tags) is not None


def check_count(tags: Sequence[object], text: SplitText, place: str, rule: str) -> None:
    """Check that there are as many tags as words.

    Raises:
        LabelError: different numbers.
    """
    if len(tags) != len(text.words):
        raise LabelError(
            f"{place}: has {len(tags)} tags for {len(text.words)} words; give the text as a list of the words that the "
            f"tags are of, or check whether the text should be split by words={rule!r}"
        )
