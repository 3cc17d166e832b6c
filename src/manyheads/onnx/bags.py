"""Bags of terms that heads read, and what they add to the heads' first layers::

    bag_NAME = sum over the lexicons that the head reads of bags(ids, mask) @ columns

An exported graph takes it as an input, since it cannot count terms. ``bag_arrays.py`` has the file, ``bags.npz``, and
``manyheads.bags`` the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from manyheads.bags import Lexicon, SparseBags
from manyheads.errors import CorruptCheckpointError
from manyheads.onnx.bag_arrays import read_arrays, write_arrays
from manyheads.onnx.layout import BAGS, PREDICTOR_JSON, Layout


@dataclass(frozen=True, eq=False)
class Bags:
    """The lexicons that heads read, each once, and the heads' weights for them.

    Attributes:
        lexicons: The lexicons by number.
        columns: Head name -> number of a lexicon that it reads -> the columns of its first layer for the lexicon's
            terms, transposed, fp32 (terms, width of the first layer).
    """

    lexicons: Mapping[int, Lexicon]
    columns: Mapping[str, Mapping[int, np.ndarray]]

    def inputs(self, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Return all inputs ``bag_NAME`` of the graph, fp32 (rows, width); each lexicon's bags are computed once.

        Args:
            ids: Token ids (rows, tokens), int64.
            mask: (rows, tokens), true or 1 for real tokens.
        """
        bags = {number: lexicon.bags(ids, mask != 0) for number, lexicon in self.lexicons.items()}
        return {f"bag_{name}": _sum(bags, columns) for name, columns in self.columns.items()}

    def of(self, head: str, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the input of one head that reads bags; see ``inputs``."""
        columns = self.columns[head]
        return _sum({number: self.lexicons[number].bags(ids, mask != 0) for number in columns}, columns)

    def save(self, folder: Path) -> None:
        """Write ``bags.npz`` to a folder, if any head reads bags."""
        if self.columns:
            write_arrays(folder / BAGS, self.lexicons, self.columns)

    @staticmethod
    def load(folder: Path, layout: Layout) -> Bags:
        """Read and audit ``bags.npz``.

        Args:
            folder: The exported folder.
            layout: Its layout, which has the number of bags that each head reads.

        Raises:
            CorruptCheckpointError: the file is absent or damaged, contradicts itself, or has other bags.
        """
        declared = {name: head.bags for name, head in layout.heads.items()}
        if not any(declared.values()):
            return Bags({}, {})
        lexicons, columns = read_arrays(folder / BAGS)
        for name, number in declared.items():
            if len(columns.get(name, {})) != number:
                raise CorruptCheckpointError(
                    f"{folder / BAGS}: head {name!r}: has {len(columns.get(name, {}))} bags, but {PREDICTOR_JSON} "
                    f"declares {number}; export the model again"
                )
        return Bags(lexicons, columns)


def _sum(bags: Mapping[int, SparseBags], columns: Mapping[int, np.ndarray]) -> np.ndarray:
    return reduce(np.add, (bags[number].times(part) for number, part in columns.items()))
