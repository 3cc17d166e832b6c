"""The language model's loss and perplexity."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from manyheads.backbone.stack.probe import evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import plan_batches
from manyheads.data.texts.tokenize import Tokenized


def lm_loss(logits: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of every real token after a real one, fp32, and how many there are.

    The same as a causal model's own loss in transformers times that number, with padding as label -100.

    Args:
        logits: (rows, tokens, vocabulary).
        input_ids: (rows, tokens).
        attention_mask: (rows, tokens).
    """
    predicted = predicted_tokens(attention_mask)
    total = F.cross_entropy(logits[:, :-1][predicted].float(), input_ids[:, 1:][predicted], reduction="sum")
    return total, predicted.sum()


def predicted_tokens(attention_mask: Tensor) -> Tensor:
    """Return which tokens (rows, tokens - 1), from the second on, are real and follow a real one."""
    mask = attention_mask.bool()
    predicted: Tensor = mask[:, 1:] & mask[:, :-1]
    return predicted


def perplexity(core: HeadedCore, tokenized: Tokenized, rows: np.ndarray) -> float | None:
    """Return the causal language model's perplexity on some rows; ``None`` without one, or without a token to predict.

    Args:
        core: Whose language model; its mode is eval meanwhile.
        tokenized: The texts.
        rows: Which of them.
    """
    if core.backbone.lm is None or not core.backbone.facts.causal:
        return None
    total = count = 0.0
    with evaluating(core):
        for places in plan_batches(tokenized.lengths[rows]):
            batch = tokenized.batch(rows[places]).to(core.backbone.device)
            _, logits = core.read(batch, [], lm=True)
            assert logits is not None
            loss, tokens = lm_loss(logits, batch.input_ids, batch.attention_mask)
            total, count = total + float(loss), count + float(tokens)
    return math.exp(total / count) if count else None
