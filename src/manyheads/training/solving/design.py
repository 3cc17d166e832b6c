"""Design matrices, one row per labelled text: in memory, sparse, side by side, or streamed block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from manyheads.training.solving.scaling import Basis, Scaling

# Rows per block of a streamed design.
_STREAMED_ROWS = 16_384
# Outputs that a matrix product computes together.
_BLOCK_OUTPUTS = 16


class Design(ABC):
    """A matrix (rows, width).

    Attributes:
        variances: Mean square of each column (width,), fp64.
    """

    variances: Tensor

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows."""

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.variances)

    @abstractmethod
    def logits(self, weight: Tensor) -> Tensor:
        """Return this matrix times a transposed weight (outputs, width): (rows, outputs), in the weight's dtype."""

    @abstractmethod
    def gradient(self, logit_gradient: Tensor) -> Tensor:
        """Return a transposed (rows, outputs) gradient times this matrix: (outputs, width), in the gradient's dtype."""

    @abstractmethod
    def take(self, index: Tensor) -> Design:
        """Return the matrix of some rows, with the variances of all rows."""

    @abstractmethod
    def precise(self) -> Design:
        """Return the matrix in fp64, or itself where that would take too much memory."""


class DenseDesign(Design):
    """A tensor in memory.

    Args:
        values: (rows, width) fp32 or fp64.
        variances: Mean square of each column; measured by default.
    """

    # Above this, the digits of fp64 are not worth the memory.
    _MAX_FP64_VALUES = 50_000_000

    def __init__(self, values: Tensor, variances: Tensor | None = None) -> None:
        self.values = values
        self.variances = values.double().square().mean(dim=0) if variances is None else variances

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    def logits(self, weight: Tensor) -> Tensor:
        """Return (rows, outputs) by one matrix product. It is up to 1.4 times as fast with a multiple of 16 outputs."""
        outputs, given = len(weight), weight.to(self.values.dtype)
        if outputs > _BLOCK_OUTPUTS:
            given = torch.nn.functional.pad(given, (0, 0, 0, -outputs % _BLOCK_OUTPUTS))
        return torch.nn.functional.linear(self.values, given)[:, :outputs].to(weight.dtype)

    def gradient(self, logit_gradient: Tensor) -> Tensor:
        """Return (outputs, width) by one matrix product."""
        return (logit_gradient.to(self.values.dtype).T @ self.values).to(logit_gradient.dtype)

    def take(self, index: Tensor) -> DenseDesign:
        """Return a copy of some rows."""
        return DenseDesign(self.values[index], self.variances)

    def precise(self) -> DenseDesign:
        """Return an fp64 copy unless the matrix is large."""
        small = self.values.numel() <= self._MAX_FP64_VALUES
        return DenseDesign(self.values.double(), self.variances) if small else self


class SparseDesign(Design):
    """A sparse matrix.

    Args:
        values: (rows, width).
        variances: Mean square of each column; measured by default.
    """

    def __init__(self, values: csr_array, variances: Tensor | None = None) -> None:
        self.values = values
        self._transposed = values.T.tocsr()
        mean_squares = np.asarray(values.multiply(values).sum(axis=0)) / max(values.shape[0], 1)
        self.variances = torch.from_numpy(mean_squares.astype(np.float64)) if variances is None else variances

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    def logits(self, weight: Tensor) -> Tensor:
        """Return (rows, outputs) by one sparse product."""
        return torch.from_numpy(self.values @ weight.T.contiguous().numpy()).to(weight.dtype)

    def gradient(self, logit_gradient: Tensor) -> Tensor:
        """Return (outputs, width) by one sparse product."""
        product = self._transposed @ logit_gradient.contiguous().numpy()
        return torch.from_numpy(product.T).to(logit_gradient.dtype)

    def take(self, index: Tensor) -> SparseDesign:
        """Return a copy of some rows."""
        return SparseDesign(self.values[index.numpy()], self.variances)

    def precise(self) -> SparseDesign:
        """Return an fp64 copy."""
        return SparseDesign(self.values.astype(np.float64), self.variances)


class JoinedDesign(Design):
    """Matrices side by side.

    Args:
        parts: Designs of the same rows.
    """

    def __init__(self, parts: Sequence[Design]) -> None:
        self.parts = parts
        self.variances = torch.cat([part.variances for part in parts])
        self._widths = [part.width for part in parts]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.parts[0].rows

    def logits(self, weight: Tensor) -> Tensor:
        """Return the sum of the parts' products, (rows, outputs)."""
        weights = torch.split(weight, self._widths, dim=1)
        return torch.stack([part.logits(own) for part, own in zip(self.parts, weights, strict=True)]).sum(dim=0)

    def gradient(self, logit_gradient: Tensor) -> Tensor:
        """Return the parts' products side by side, (outputs, width)."""
        return torch.cat([part.gradient(logit_gradient) for part in self.parts], dim=1)

    def take(self, index: Tensor) -> JoinedDesign:
        """Return some rows of every part."""
        return JoinedDesign([part.take(index) for part in self.parts])

    def precise(self) -> JoinedDesign:
        """Return the parts in fp64 where they fit."""
        return JoinedDesign([part.precise() for part in self.parts])


class StreamedDesign(Design):
    """Features along their principal axes, computed block by block, so that they need not fit into memory.

    Args:
        take_rows: Returns the raw features (n, width) of some row numbers.
        index: Row numbers of the design, (rows,).
        basis: The principal axes; measured in three passes over the rows by default.
        sample_weight: Weight of each row in these measures (rows,); all count alike by default.
    """

    def __init__(
        self,
        take_rows: Callable[[np.ndarray], Tensor],
        index: np.ndarray,
        basis: Basis | None = None,
        sample_weight: Tensor | None = None,
    ) -> None:
        self._take_rows = take_rows
        self._index = index
        weights = torch.ones(self.rows).double() if sample_weight is None else sample_weight.double()
        self.basis = self._measured_basis(weights / weights.sum()) if basis is None else basis
        self.variances = self.basis.variances

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._index)

    def logits(self, weight: Tensor) -> Tensor:
        """Return (rows, outputs) block by block; the weight is rotated instead of the features."""
        rotated = (self.basis.axes @ weight.T.to(self.basis.axes.dtype)).contiguous()
        return torch.cat([self.basis.scaling.apply(block) @ rotated for _, block in self._blocks()]).to(weight.dtype)

    def gradient(self, logit_gradient: Tensor) -> Tensor:
        """Return (outputs, width), summed over the blocks."""
        total = torch.zeros((logit_gradient.shape[1], len(self.basis.axes)), dtype=self.basis.axes.dtype)
        for start, block in self._blocks():
            part = logit_gradient[start : start + len(block)].to(total.dtype)
            total += part.T @ self.basis.scaling.apply(block)
        return (total @ self.basis.axes).to(logit_gradient.dtype)

    def take(self, index: Tensor) -> StreamedDesign:
        """Return the design of some rows without copying features."""
        return StreamedDesign(self._take_rows, self._index[index.numpy()], self.basis)

    def precise(self) -> StreamedDesign:
        """Return itself: a streamed design is large."""
        return self

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(self._index), _STREAMED_ROWS):
            yield start, self._take_rows(self._index[start : start + _STREAMED_ROWS])

    def _measured_basis(self, shares: Tensor) -> Basis:
        """Return the principal axes of rows with these shares of the total weight, fp64 (rows,)."""
        mean = variance = torch.zeros(())
        for start, block in self._blocks():
            mean = mean + shares[start : start + len(block)] @ block.double()
        for start, block in self._blocks():
            variance = variance + shares[start : start + len(block)] @ (block.double() - mean).square()
        scaling = Scaling.from_moments(mean.float(), variance.sqrt().float())
        gram = torch.zeros((len(mean), len(mean)))
        for start, block in self._blocks():
            standardized = scaling.apply(block)
            gram += (standardized.T * shares[start : start + len(block)].float()) @ standardized
        return Basis.from_gram(scaling, gram)
