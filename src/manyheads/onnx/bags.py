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

    @property
    def names(self) -> dict[str, str]:
        """Name of the graph's input -> name of the head."""
        return {f"bag_{name}": name for name in self.columns}

    def inputs(self, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Return these inputs, fp32 (rows, width of the head's first layer).

        Args:
            ids: Token ids (rows, tokens), int64.
            mask: (rows, tokens), true or 1 for real tokens.
        """
        bags = {number: lexicon.bags(ids, mask != 0) for number, lexicon in self.lexicons.items()}
        return {name: _sum(bags, self.columns[head]) for name, head in self.names.items()}

    def save(self, folder: Path) -> None:
        """Write ``bags.npz`` to a folder, if any head reads bags."""
        if self.columns:
            write_arrays(folder / BAGS, self.lexicons, self.columns)

    @staticmethod
    def load(folder: Path, layout: Layout) -> Bags:
        """Read and audit ``bags.npz``.

        Args:
            folder: The exported folder.
            layout: Its layout, which has the number of bags of each of its heads. Heads that are only read by others
                are in the file too.

        Raises:
            CorruptCheckpointError: the file is absent or damaged, contradicts itself, or has other bags.
        """
        lexicons, columns = read_arrays(folder / BAGS) if BAGS in layout.sizes else ({}, {})
        for name, head in layout.heads.items():
            found = len(columns.get(name, ()))
            if found != head.bags:
                raise CorruptCheckpointError(
                    f"{folder / BAGS}: head {name!r}: has {found} bags, but {PREDICTOR_JSON} declares {head.bags}; "
                    "export the model again"
                )
        return Bags(lexicons, columns)


def _sum(bags: Mapping[int, SparseBags], columns: Mapping[int, np.ndarray]) -> np.ndarray:
    return reduce(np.add, (bags[number].times(part) for number, part in columns.items()))
