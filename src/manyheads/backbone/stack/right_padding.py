"""Convert any batch to right padding before the forward pass, and token outputs back to the caller's layout.

With right padding, every architecture computes correct positions and has its CLS token first; with left padding, many
do not (GPT-2's logits change by 0.33), and encoders such as BART's take no position ids to correct it. Padding is
therefore moved after the real tokens, by the mask and never by token id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from manyheads.errors import InputError
from manyheads.types import Batch, WordIds

# A larger number in word_ids is an error.
_MAX_WORDS = 1 << 20


@dataclass(frozen=True)
class RightPadded:
    """A right-padded batch.

    Attributes:
        batch: The batch for the backbone, cut to its longest row.
        mask: (rows, tokens) booleans, true for real tokens.
        order: (rows, tokens) position of each token in the caller's layout, or ``None`` if no token moved.
        length: Number of tokens per row in the caller's layout.
        words: The word that each token belongs to. Without ``word_ids``, each real token is one word, numbered by its
            position in the caller's layout, so that outputs per word are in that layout.
    """

    batch: Batch
    mask: Tensor
    order: Tensor | None
    length: int
    words: WordIds

    def restore(self, values: Tensor) -> Tensor:
        """Return (rows, tokens, ...) values in the caller's layout, with zeros for padding."""
        if self.order is None:
            return values
        restored = values.new_zeros((values.shape[0], self.length, *values.shape[2:]))
        rows = torch.arange(values.shape[0], device=values.device).unsqueeze(1)
        kept = values.masked_fill(~self.mask.reshape(*self.mask.shape, *[1] * (values.dim() - 2)), 0.0)
        restored[rows, self.order] = kept
        return restored


def right_pad(batch: Batch) -> RightPadded:
    """Return the batch right-padded.

    Raises:
        InputError: shapes that differ, or a mask with values other than zero and one.
    """
    _check(batch)
    mask = batch.attention_mask.bool()
    longest = max(int(mask.sum(dim=1).max()), 1)
    unordered = bool((mask[:, 1:] & ~mask[:, :-1]).any())
    if not unordered and longest == mask.shape[1]:
        return RightPadded(_with_safe_padding(batch, mask), mask, None, mask.shape[1], _word_ids(batch, mask, None))
    # A stable sort keeps the order of the real tokens and puts padding after them.
    order = torch.argsort(~mask, dim=1, stable=True)[:, :longest]
    tokens = {name: tensor.gather(1, order) for name, tensor in batch.inputs().items() if name != "decoder_input_ids"}
    ordered = replace(batch, **tokens)
    kept = mask.gather(1, order)
    return RightPadded(_with_safe_padding(ordered, kept), kept, order, mask.shape[1], _word_ids(batch, kept, order))


def _word_ids(batch: Batch, mask: Tensor, order: Tensor | None) -> WordIds:
    """Return the words of a batch whose tokens were reordered, with the reordered mask."""
    ids = batch.word_ids
    if ids is None:
        columns = torch.arange(batch.input_ids.shape[1], device=mask.device).expand(len(mask), -1)
        positions = columns if order is None else order
        return WordIds(positions.masked_fill(~mask, -1), batch.input_ids.shape[1])
    numbers = (ids if order is None else ids.gather(1, order)).masked_fill(~mask, -1)
    return WordIds(numbers, int(numbers.max()) + 1)


def _with_safe_padding(batch: Batch, mask: Tensor) -> Batch:
    """Set padding to an id that every vocabulary has, and let a row without real tokens attend to one padding token.

    The id of a pad token that was added without resizing the embeddings is out of range, and softmax over an empty row
    is NaN in some kernels.
    """
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
    if batch.word_ids is not None:
        _check_word_ids(batch.word_ids, shape)
    mask = batch.attention_mask
    if bool(((mask != 0) & (mask != 1)).any()):
        raise InputError("attention_mask must be 1 for real tokens and 0 for padding")


def _check_word_ids(ids: Tensor, shape: torch.Size) -> None:
    if ids.shape != shape:
        raise InputError(f"word_ids must have input_ids' shape {tuple(shape)}, got {tuple(ids.shape)}")
    if ids.dtype != torch.int64:
        raise InputError(f"word_ids must be int64, got {ids.dtype}; -1 means no word")
    if not -1 <= int(ids.min()) <= int(ids.max()) < _MAX_WORDS:
        raise InputError(
            f"word_ids range from {int(ids.min())} to {int(ids.max())}; number each row's words from 0, with -1 for a "
            "token of no word"
        )
