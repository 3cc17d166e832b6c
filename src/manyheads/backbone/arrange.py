"""Bring any batch to right padding before the forward, and its token outputs back to the caller's layout.

Right-padded, every architecture derives the right positions and sees its CLS token first; left-padded, many do not
(GPT-2's logits move by 0.33), and encoders such as BART's take no position ids to mend it with. So padding, wherever
it stands, is moved behind the real tokens, by the mask and never by token id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from manyheads.errors import InputError
from manyheads.types import Batch


@dataclass(frozen=True)
class Arranged:
    """A right-padded batch and the way back.

    Attributes:
        batch: The batch for the backbone, cut to its longest row.
        mask: (rows, tokens) booleans of the real tokens.
        order: (rows, tokens) where each token stood, or ``None`` if nothing had to move.
        length: Number of tokens per row in the caller's layout.
    """

    batch: Batch
    mask: Tensor
    order: Tensor | None
    length: int

    def restore(self, values: Tensor) -> Tensor:
        """Return (rows, tokens, ...) values in the caller's layout; zeros where it has padding."""
        if self.order is None:
            return values
        restored = values.new_zeros((values.shape[0], self.length, *values.shape[2:]))
        rows = torch.arange(values.shape[0], device=values.device).unsqueeze(1)
        kept = values.masked_fill(~self.mask.reshape(*self.mask.shape, *[1] * (values.dim() - 2)), 0.0)
        restored[rows, self.order] = kept
        return restored


def arrange(batch: Batch) -> Arranged:
    """Return the batch right-padded.

    Raises:
        InputError: shapes that differ, or a mask that holds anything but zeros and ones.
    """
    _check(batch)
    mask = batch.attention_mask.bool()
    longest = max(int(mask.sum(dim=1).max()), 1)
    moved = bool((mask[:, 1:] & ~mask[:, :-1]).any())
    if not moved and longest == mask.shape[1]:
        return Arranged(_harmless(batch, mask), mask, None, mask.shape[1])
    # A stable sort keeps the real tokens in order and puts the padding behind them.
    order = torch.argsort(~mask, dim=1, stable=True)[:, :longest]
    tokens = {name: tensor.gather(1, order) for name, tensor in batch.inputs().items() if name != "decoder_input_ids"}
    arranged = replace(batch, **tokens)
    kept = mask.gather(1, order)
    return Arranged(_harmless(arranged, kept), kept, order, mask.shape[1])


def _harmless(batch: Batch, mask: Tensor) -> Batch:
    """Give padding an id that every vocabulary has (a pad token added without resizing the embeddings lies outside),
    and let a row without real tokens attend to one of its paddings: softmax over nothing is NaN in some kernels."""
    if bool(mask.all()):
        return batch
    attention_mask = batch.attention_mask.clone()
    attention_mask[~mask.any(dim=1), 0] = 1
    return replace(batch, input_ids=batch.input_ids.masked_fill(~mask, 0), attention_mask=attention_mask)


def _check(batch: Batch) -> None:
    shape = batch.input_ids.shape
    if batch.input_ids.dim() != 2 or 0 in shape:
        raise InputError(f"input_ids must have shape (rows, tokens) with at least one of each, got {tuple(shape)}")
    if batch.input_ids.is_floating_point() or batch.input_ids.dtype == torch.bool:
        raise InputError(f"input_ids must be integers, got {batch.input_ids.dtype}")
    for name, tensor in batch.inputs().items():
        if name != "decoder_input_ids" and tensor.shape != shape:
            raise InputError(f"{name} must have input_ids' shape {tuple(shape)}, got {tuple(tensor.shape)}")
    mask = batch.attention_mask
    if bool(((mask != 0) & (mask != 1)).any()):
        raise InputError("attention_mask must hold 1 for a real token and 0 for padding only")
