"""The attention mask of token ids that come without one."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from manyheads.errors import InputWarning
from manyheads.types import Tokenizer


def full_mask(input_ids: Tensor, tokenizer: Tokenizer | None) -> Tensor:
    """Return a mask that counts every token as real, with a warning if some look like padding.

    Args:
        input_ids: (rows, tokens) int64.
        tokenizer: The backbone's, for its padding id.
    """
    if tokenizer is None or tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        return torch.ones_like(input_ids)
    if input_ids.numel() and bool((input_ids[..., [0, -1]] == tokenizer.pad_token_id).any()):
        warnings.warn(
            "input_ids begin or end with the padding id but have no attention_mask, so padding counts as text; "
            "pass the tokenizer's attention_mask",
            InputWarning,
            stacklevel=5,
        )
    return torch.ones_like(input_ids)
