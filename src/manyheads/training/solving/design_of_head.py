"""Build the design matrix of a linear head, and convert its solution to weights for the head's raw input.

Dense features are standardized and rotated onto their principal axes, all together. Bags of tokens stay sparse. They
are scaled to the total variance of one dense tap, so that one penalty fits both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from manyheads.errors import HeadError
from manyheads.heads import Head
from manyheads.taps.base import Reader
from manyheads.training.solving.design import DenseDesign, Design, JoinedDesign, SparseDesign, StreamedDesign
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.scaling import Basis

# Above this many values, rotated features are not kept in memory but computed block by block.
MAX_DENSE_VALUES = 300_000_000
# A streamed design needs a Gram matrix (width, width).
_MAX_STREAMED_WIDTH = 16_384
# Total variance of a bag without a dense tap: that of one dense tap of this many standardized features.
_DEFAULT_BAG_VARIANCE = 384


@dataclass(frozen=True)
class HeadDesign:
    """The design matrix of one head.

    Attributes:
        design: All blocks side by side, dense ones first.
        basis: Principal axes of the dense block, or ``None`` without dense taps.
        scales: Factor of each sparse block.
        columns: Column in the head's input of each raw feature, dense blocks first, then sparse ones.
    """

    design: Design
    basis: Basis | None
    scales: tuple[float, ...]
    columns: np.ndarray

    def folded(self, layer: Linear) -> Linear:
        """Return the layer for the head's raw input from the one solved on the design: scaling and rotation are folded
        into its weights.
        """
        bias, parts, start = layer.bias, [], 0
        if self.basis is not None:
            start = self.basis.axes.shape[1]
            axes = self.basis.axes.T.to(layer.weight.dtype)
            dense = Linear(layer.weight[:, :start] @ axes, bias).unscaled(self.basis.scaling)
            parts, bias = [dense.weight], dense.bias
        sparse = layer.weight[:, start:].clone()
        start = 0
        for scale, width in zip(self.scales, self._sparse_widths(), strict=True):
            sparse[:, start : start + width] *= scale
            start += width
        weight = torch.empty((len(bias), len(self.columns)), dtype=layer.weight.dtype)
        weight[:, torch.from_numpy(self.columns)] = torch.cat([*parts, sparse], dim=1)
        return Linear(weight, bias)

    def _sparse_widths(self) -> list[int]:
        parts = self.design.parts if isinstance(self.design, JoinedDesign) else [self.design]
        return [part.width for part in parts if isinstance(part, SparseDesign)]


def design_of(head: Head, training_set: HeadTrainingSet) -> HeadDesign:
    """Return the design matrix of a linear head.

    Args:
        head: The head; its readers must be prepared, and are not changed.
        training_set: Its labelled rows.

    Raises:
        HeadError: the dense features are too many for memory and too wide to stream.
    """
    widths = [_width(head, training_set, k) for k in range(len(head.taps))]
    starts = np.concatenate([[0], np.cumsum(widths)])
    sparse = [k for k, reader in enumerate(head.readers) if cast(Reader, reader).sparse]
    dense = [k for k in range(len(head.taps)) if k not in sparse]
    basis, design = _dense_design(head, training_set, dense)
    variance = float(basis.variances.sum()) / len(dense) if basis is not None else float(_DEFAULT_BAG_VARIANCE)
    scale = variance**0.5
    blocks = [_sparse_design(head, training_set, k, scale) for k in sparse]
    parts: list[Design] = ([] if design is None else [design]) + list(blocks)
    columns = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in [*dense, *sparse]])
    joined = parts[0] if len(parts) == 1 else JoinedDesign(parts)
    return HeadDesign(joined, basis, tuple(scale for _ in blocks), columns)


def _width(head: Head, training_set: HeadTrainingSet, k: int) -> int:
    reader = cast(Reader, head.readers[k])
    if reader.sparse:
        return int(reader.matrix(training_set.features_of(head.taps[k], training_set.rows[:1])).shape[1])
    return int(_vectors(head, training_set, k, training_set.rows[:1]).shape[-1])


def _vectors(head: Head, training_set: HeadTrainingSet, k: int, rows: np.ndarray) -> Tensor:
    """Return the output of a head's k-th reader for some rows (rows, width)."""
    with torch.no_grad():
        vectors: Tensor = head.readers[k](training_set.features_of(head.taps[k], rows))
    return vectors


def _dense_design(head: Head, training_set: HeadTrainingSet, dense: list[int]) -> tuple[Basis | None, Design | None]:
    if not dense:
        return None, None

    def take(rows: np.ndarray) -> Tensor:
        return torch.cat([_vectors(head, training_set, k, rows) for k in dense], dim=1)

    rows = training_set.rows
    width = take(rows[:1]).shape[1]
    if len(rows) * width > MAX_DENSE_VALUES:
        if width > _MAX_STREAMED_WIDTH:
            raise HeadError(
                f"{head.spec.owner}: {len(rows)} rows of {width} features are too large to solve; keep fewer tokens, "
                "for example LMLogits(top_k=1024)"
            )
        streamed = StreamedDesign(take, rows, sample_weight=training_set.sample_weight)
        return streamed.basis, streamed
    features = take(rows)
    basis = Basis.of(features, training_set.sample_weight)
    return basis, DenseDesign(basis.apply(features), basis.variances)


def _sparse_design(head: Head, training_set: HeadTrainingSet, k: int, scale: float) -> SparseDesign:
    reader = cast(Reader, head.readers[k])
    return SparseDesign(reader.matrix(training_set.features_of(head.taps[k], training_set.rows)) * np.float32(scale))
