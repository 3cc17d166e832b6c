"""Bags as a sparse matrix of what texts contain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class SparseBags:
    """The bags of texts (texts, terms): the values that are not zero, by text and then by term.

    Attributes:
        starts: Where each text's values start, and where the last one's end (texts + 1,), int64.
        terms: Number of the term of each value (values,), int64.
        values: fp32 (values,).
    """

    starts: np.ndarray
    terms: np.ndarray
    values: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Number of the text of each value (values,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def times(self, columns: np.ndarray) -> np.ndarray:
        """Return the product with an fp32 matrix (terms, width): fp32 (texts, width)."""
        product = np.empty((len(self.starts) - 1, columns.shape[1]), dtype=np.float32)
        for row, (start, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            product[row] = self.values[start:end] @ columns[self.terms[start:end]]
        return product
