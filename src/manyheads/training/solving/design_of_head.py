"""From what a head reads to what it is solved on, and its solution back to weights for features as they are.

Dense features are standardised, together, and turned along their principal axes. A bag of tokens stays sparse, and is
scaled as a block until it weighs as much as one dense tap does, so that one penalty serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from manyheads.errors import HeadError
from manyheads.heads import Head
from manyheads.taps.lexical import LexicalReader, TokenIds, bags
from manyheads.training.solving.design import DenseDesign, Design, JoinedDesign, SparseDesign, StreamedDesign
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.objective import Linear
from manyheads.training.solving.scaling import Basis
from manyheads.types import Features

# Above this many numbers, features are taken block by block and not held turned in memory as well.
_MOST_HELD_VALUES = 300_000_000
# Features of a streamed design have a Gram matrix of their own width squared.
_MOST_STREAMED_WIDTH = 16_384
# What a bag alone weighs: about as much as one dense tap of this many standardised features.
_LONE_WIDTH = 384


@dataclass(frozen=True)
class HeadDesign:
    """A head's features, ready to be solved on.

    Attributes:
        design: All its blocks side by side, dense ones first.
        basis: The dense block's axes, or ``None`` without dense taps.
        scales: Factor of each sparse block.
        order: For each column of dense, then sparse blocks, as the head's readers give them, its place in the head's
            input.
    """

    design: Design
    basis: Basis | None
    scales: tuple[float, ...]
    order: np.ndarray

    def folded(self, layer: Linear) -> Linear:
        """Return the layer for the head's own input, from the one solved on the design."""
        bias, parts, start = layer.bias, [], 0
        if self.basis is not None:
            start = self.basis.axes.shape[1]
            axes = self.basis.axes.T.to(layer.weight.dtype)
            dense = Linear(layer.weight[:, :start] @ axes, bias).unscaled(self.basis.scaling)
            parts, bias = [dense.weight], dense.bias
        sparse = layer.weight[:, start:].clone()
        place = 0
        for scale, width in zip(self.scales, self._sparse_widths(), strict=True):
            sparse[:, place : place + width] *= scale
            place += width
        weight = torch.empty((len(bias), len(self.order)), dtype=layer.weight.dtype)
        weight[:, torch.from_numpy(self.order)] = torch.cat([*parts, sparse], dim=1)
        return Linear(weight, bias)

    def _sparse_widths(self) -> list[int]:
        parts = self.design.parts if isinstance(self.design, JoinedDesign) else [self.design]
        return [part.width for part in parts if isinstance(part, SparseDesign)]


def design_of(head: Head, rows: HeadTrainingSet) -> HeadDesign:
    """Return what a linear head is solved on.

    Args:
        head: Whose taps and readers they are; the readers' counts are taken as they stand.
        rows: Its labelled rows.
    """
    widths = [_width(head, rows, place) for place in range(len(head.taps))]
    starts = np.concatenate([[0], np.cumsum(widths)])
    sparse = [place for place, reader in enumerate(head.readers) if isinstance(reader, LexicalReader)]
    dense = [place for place in range(len(head.taps)) if place not in sparse]
    basis, design = _dense(head, rows, dense)
    weight = float(basis.variances.sum()) / len(dense) if basis is not None else float(_LONE_WIDTH)
    scale = weight**0.5
    blocks = [_bags(cast(LexicalReader, head.readers[place]), rows, place, scale) for place in sparse]
    parts: list[Design] = ([] if design is None else [design]) + list(blocks)
    order = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in [*dense, *sparse]])
    joined = parts[0] if len(parts) == 1 else JoinedDesign(parts)
    return HeadDesign(joined, basis, tuple(scale for _ in blocks), order)


def _width(head: Head, rows: HeadTrainingSet, place: int) -> int:
    reader = head.readers[place]
    if isinstance(reader, LexicalReader):
        return len(reader.ids)
    return int(_vectors(head, rows, place, rows.all[:1]).shape[-1])


def _vectors(head: Head, rows: HeadTrainingSet, place: int, index: np.ndarray) -> Tensor:
    """Return what a head's reader makes of some rows' features."""
    with torch.no_grad():
        vectors: Tensor = head.readers[place](rows.feature(place, index))
    return vectors


def _dense(head: Head, rows: HeadTrainingSet, places: list[int]) -> tuple[Basis | None, Design | None]:
    if not places:
        return None, None

    def take(index: np.ndarray) -> Tensor:
        return torch.cat([_vectors(head, rows, place, index) for place in places], dim=1)

    width = take(rows.all[:1]).shape[1]
    if len(rows.all) * width > _MOST_HELD_VALUES:
        if width > _MOST_STREAMED_WIDTH:
            raise HeadError(
                f"{head.spec.owner}: {len(rows.all)} rows of {width} features are too many to solve on; keep fewer "
                "tokens, for example LMLogits(top_k=1024)"
            )
        streamed = StreamedDesign(take, rows.all)
        return streamed.basis, streamed
    features = take(rows.all)
    basis = Basis.of(features)
    return basis, DenseDesign(basis.apply(features), basis.variances)


def _bags(reader: LexicalReader, rows: HeadTrainingSet, place: int, scale: float) -> SparseDesign:
    texts = token_ids(rows.feature(place, rows.all))
    return SparseDesign(bags(texts, reader.ids.numpy(), reader.weights.numpy()) * np.float32(scale))


def token_ids(features: Features) -> TokenIds:
    """Return padded token ids end to end."""
    assert features.mask is not None
    lengths = features.mask.sum(dim=1).numpy()
    return TokenIds(features.values[features.mask].numpy(), np.concatenate([[0], np.cumsum(lengths)]))
