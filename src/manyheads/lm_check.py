"""Is the language model still what it was? Compared by logits on texts, or by every weight's bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.backbone import Backbone
from manyheads.backbone.stack import accepted, evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import plan_batches
from manyheads.data.tokens import Tokenized, tokenize
from manyheads.errors import BackboneError, NoLanguageModelError


@dataclass(frozen=True)
class LMCheck:
    """What a comparison of two language models found.

    Attributes:
        bit_identical: Whether everything compared is equal bit for bit.
        max_abs_diff: Largest difference of a logit; 0.0 where the weights are identical, ``None`` if not measured.
        perplexity: Of the model on the texts; ``None`` if not measured (only a causal model has one).
        reference_perplexity: Of the reference on the same texts.
        compared: ``"logits"`` on texts, or ``"weights"``: every tensor of the backbone, before and after.
    """

    bit_identical: bool
    max_abs_diff: float | None
    perplexity: float | None = None
    reference_perplexity: float | None = None
    compared: str = "logits"


def compare_weights(
    before: str, after: str, perplexity: float | None = None, reference_perplexity: float | None = None
) -> LMCheck:
    """Compare two digests of a backbone's tensors: equal weights make equal logits, without a forward.

    Args:
        before: Digest of the reference.
        after: Digest of the model in question.
        perplexity: Of the model in question, if it was measured.
        reference_perplexity: Of the reference, if it was measured.
    """
    same = before == after
    return LMCheck(same, 0.0 if same else None, perplexity, reference_perplexity, compared="weights")


def compare_logits(
    backbone: Backbone, reference: Backbone, tokenizer: Any, texts: Sequence[str], limit: int | None
) -> LMCheck:
    """Compare two language models on texts, one text at a time, both in eval mode.

    Args:
        backbone: The model in question.
        reference: What it should equal.
        tokenizer: Of both.
        texts: At least one.
        limit: Most tokens of a text.

    Raises:
        NoLanguageModelError: one of the two has no language model.
        BackboneError: their vocabularies differ in size, or no text was given.
    """
    for side in (backbone, reference):
        if side.lm is None:
            raise NoLanguageModelError(f"{side.name}: holds no language model to check")
    if not texts:
        raise BackboneError("check_lm needs at least one text")
    tokenized = tokenize(tokenizer, texts, limit, accepted(backbone.stack))
    pairs = []
    with evaluating(backbone), evaluating(reference):
        for ids, types in _rows(tokenized.inputs, backbone.device):
            mine, theirs = _logits(backbone, ids, types), _logits(reference, ids.to(reference.device), types)
            if mine.shape != theirs.shape:
                raise BackboneError(f"The vocabularies differ: {mine.shape[-1]} and {theirs.shape[-1]} tokens")
            pairs.append((ids, mine, theirs.to(mine.device)))
    causal = backbone.facts.causal
    return LMCheck(
        bit_identical=all(torch.equal(mine, theirs) for _, mine, theirs in pairs),
        max_abs_diff=max(float((mine.float() - theirs.float()).abs().max()) for _, mine, theirs in pairs),
        perplexity=_perplexity([(ids, mine) for ids, mine, _ in pairs]) if causal else None,
        reference_perplexity=_perplexity([(ids, theirs) for ids, _, theirs in pairs]) if causal else None,
    )


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


def _rows(inputs: dict[str, list[list[int]]], device: torch.device) -> list[tuple[Tensor, Tensor | None]]:
    types = inputs.get("token_type_ids")
    return [
        (torch.tensor([ids], device=device), None if types is None else torch.tensor([types[row]], device=device))
        for row, ids in enumerate(inputs["input_ids"])
    ]


def _logits(backbone: Backbone, ids: Tensor, types: Tensor | None) -> Tensor:
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if types is not None:
        inputs["token_type_ids"] = types.to(ids.device)
    config = backbone.model.config
    if config.is_encoder_decoder:  # type: ignore[union-attr]
        # The decoder is asked to repeat the text: any fixed input serves to compare two models.
        inputs["decoder_input_ids"] = ids
        inputs.pop("token_type_ids", None)
    logits: Tensor = backbone.model(**inputs).logits
    return logits


def _perplexity(rows: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    """Return exp of the mean negative log-likelihood of every token after its row's first."""
    total, count = 0.0, 0
    for ids, logits in rows:
        if ids.shape[1] > 1:
            total += float(F.cross_entropy(logits[0, :-1].float(), ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
    return math.exp(total / count) if count else None
