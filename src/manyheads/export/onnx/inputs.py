"""Names of a graph's inputs, and sample inputs to trace it with; see ``manyheads.onnx.layout``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
WORD_IDS, WORD_NUMBERS = "word_ids", "word_numbers"
BAG = "bag_"

# Sizes that can be told apart in a trace: no two are equal, and none is 1, which could be a dimension to broadcast.
_ROWS, _TOKENS = 3, 9


def pass_input(name: str, number: int) -> str:
    """Return the name of an input of one pass; 0 is the pass over the texts alone."""
    return f"{name}_{number}" if number else name


def bag_input(head: str) -> str:
    """Return the name of the input with what a head's bags of terms contribute to its first layer."""
    return BAG + head


def sample_texts(number: int, vocabulary: int, token_types: bool) -> dict[str, Tensor]:
    """Return inputs of one pass, with rows of unequal length.

    Args:
        number: The pass.
        vocabulary: Number of token ids.
        token_types: Whether to include ``token_type_ids``.
    """
    tokens = _TOKENS + 2 * number
    ids = (torch.arange(_ROWS * tokens).reshape(_ROWS, tokens) * 7 + vocabulary // 3) % vocabulary
    lengths = torch.tensor([[tokens], [tokens - 2], [3]])
    texts = {IDS: ids, MASK: (torch.arange(tokens) < lengths).long()}
    if token_types:
        texts[TYPES] = torch.zeros_like(ids)
    return {pass_input(name, number): tensor for name, tensor in texts.items()}


def sample_words(mask: Tensor) -> dict[str, Tensor]:
    """Return inputs that name the word of each token: words of two tokens."""
    words = torch.arange(mask.shape[1]) // 2
    return {
        WORD_IDS: words.expand_as(mask).masked_fill(mask == 0, -1),
        WORD_NUMBERS: torch.arange(int(words.max()) + 1),
    }


def sample_bag(width: int) -> Tensor:
    """Return what a bag of terms contributes, (rows, width)."""
    return torch.linspace(-1.0, 1.0, _ROWS * width).reshape(_ROWS, width)


def dimension_names(inputs: Mapping[str, Tensor]) -> dict[str, dict[int, str]]:
    """Return the name of each dimension that may change, by input."""
    return {name: _dimensions(name) for name in inputs}


def _dimensions(name: str) -> dict[int, str]:
    if name.startswith(BAG):
        return {0: "rows"}
    if name == WORD_NUMBERS:
        return {0: "words"}
    number = name.rpartition("_")[2]
    return {0: "rows", 1: f"tokens_{number}" if number.isdigit() else "tokens"}
