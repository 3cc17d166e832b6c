"""``bags.npz`` of a model's heads: the terms that they read, and their weights in the heads' first layers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from manyheads.bags import Lexicon, WordLexicon
from manyheads.core import HeadedCore
from manyheads.export.onnx.columns import first_layer, tap_columns
from manyheads.heads import Head
from manyheads.onnx.bags import Bags
from manyheads.taps.lexical.readers import LexicalReader
from manyheads.types import BackboneFacts


def write_bags(core: HeadedCore, heads: Iterable[str], folder: Path) -> dict[str, int]:
    """Write ``bags.npz`` to a folder, if any head reads bags of terms.

    Args:
        core: Backbone and heads.
        heads: Names of the heads; those that they read are written too.
        folder: The exported folder.

    Returns:
        Number of bags by name of the heads that read any.
    """
    bags = bags_of(core.heads.with_dependencies(heads), core.backbone.facts)
    bags.save(folder)
    return {name: len(columns) for name, columns in bags.columns.items()}


def bags_of(heads: dict[str, Head], facts: BackboneFacts) -> Bags:
    """Return the bags of heads; lexicons that are equal are one."""
    numbers: dict[object, int] = {}
    lexicons: dict[int, Lexicon] = {}
    columns: dict[str, dict[int, np.ndarray]] = {}
    for name, head in heads.items():
        for reader, part in _columns(head, facts):
            number = numbers.setdefault(_identity(reader.lexicon), len(numbers))
            lexicons.setdefault(number, reader.lexicon)
            mine = columns.setdefault(name, {})
            mine[number] = mine[number] + part if number in mine else part
    return Bags(lexicons, columns)


def _columns(head: Head, facts: BackboneFacts) -> Iterable[tuple[LexicalReader, np.ndarray]]:
    """Yield each reader of bags with its columns of the first layer, transposed, times the length of its bags."""
    weight = first_layer(head).weight.detach().float().cpu().numpy()
    for reader, (_, place) in zip(head.readers, tap_columns(head, facts), strict=True):
        if isinstance(reader, LexicalReader):
            yield reader, np.ascontiguousarray(weight[:, place].T) * np.float32(reader.length)


def _identity(lexicon: Lexicon) -> object:
    """Return a value that only equal lexicons share."""
    arrays = [lexicon.terms, lexicon.weights]
    if isinstance(lexicon, WordLexicon):
        arrays += [lexicon.nodes, *vars(lexicon.pieces).values()]
    first = lexicon.first if isinstance(lexicon, WordLexicon) else None
    return type(lexicon), lexicon.pairs, first, *(array.tobytes() for array in arrays)
