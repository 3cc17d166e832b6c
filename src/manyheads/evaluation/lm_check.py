"""Compare a language model with a reference: by logits on texts, or by the bits of every weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.backbone import Backbone
from manyheads.backbone.stack.module_state import kept_state
from manyheads.backbone.stack.probe import evaluating, forward_arguments
from manyheads.data.texts.tokenize import Tokenized, tokenize
from manyheads.errors import BackboneError, InputError, NoLanguageModelError
from manyheads.types import Tokenizer

# The texts, and their first tokens, on which a training run compares logits besides the weights.
_SAMPLE_ROWS, _SAMPLE_TOKENS = 3, 32


@dataclass(frozen=True)
class LMCheck:
    """The result of a comparison of two language models.

    Attributes:
        bit_identical: Whether everything that was compared is equal bit for bit.
        max_abs_diff: Largest difference of a logit; 0.0 if the weights are identical, ``None`` if not measured.
        perplexity: Perplexity of the model on the texts; ``None`` if not measured or not a causal model.
        reference_perplexity: Perplexity of the reference on the same texts.
        compared: ``"logits"`` on texts, or ``"weights"``: every tensor of the backbone, before and after. After
            training, the logits of three texts are compared too: ``"logits"`` means that equal weights gave others.
        new_tokens: Number of tokens that were added to the model, negative if they were added to the reference. New
            tokens take probability from all others, so a model with new tokens is never ``bit_identical``.
            ``max_abs_diff`` is then over the tokens that both have, and both perplexities are of texts split into
            those.

    Examples:
        >>> check = mh.check_lm(model, gpt2, texts)
        >>> check.compared, check.max_abs_diff
        ('logits', 0.0)
    """

    bit_identical: bool
    max_abs_diff: float | None
    perplexity: float | None = None
    reference_perplexity: float | None = None
    compared: str = "logits"
    new_tokens: int = 0


def compare_weights(
    before: str,
    after: str,
    perplexity: float | None = None,
    reference_perplexity: float | None = None,
    new_tokens: int = 0,
) -> LMCheck:
    """Compare two digests of a backbone's tensors: equal weights make equal logits, without a forward.

    Args:
        before: Digest of the reference.
        after: Digest of the model in question.
        perplexity: Of the model in question, if it was measured.
        reference_perplexity: Of the reference, if it was measured.
        new_tokens: Number of tokens added since the backbone was loaded; with any, the models count as different.
    """
    same = before == after and not new_tokens
    diff = 0.0 if same else None
    return LMCheck(same, diff, perplexity, reference_perplexity, compared="weights", new_tokens=new_tokens)


def sample_logits(backbone: Backbone, tokenized: Tokenized) -> list[Tensor]:
    """Return the language model's logits (1, tokens, vocabulary) on the shortest texts; none if it cannot run them.

    Args:
        backbone: Its model is run as transformers runs it, one text at a time.
        tokenized: The texts.
    """
    if backbone.lm is None:
        return []
    rows = np.argsort(tokenized.lengths, kind="stable")[:_SAMPLE_ROWS]
    samples = [tokenized.batch(rows[[place]]).to(backbone.device) for place in range(len(rows))]
    try:
        with evaluating(backbone):
            return [
                _logits(backbone, sample.input_ids[:, :_SAMPLE_TOKENS], _first_tokens(sample.token_type_ids))
                for sample in samples
            ]
    except Exception:  # the whole model may need inputs that its stack does not; then only the weights are compared
        return []


def _same_bits(mine: Tensor, theirs: Tensor) -> bool:
    return bool(((mine == theirs) | (mine.isnan() & theirs.isnan())).all())


def _first_tokens(types: Tensor | None) -> Tensor | None:
    return None if types is None else types[:, :_SAMPLE_TOKENS]


def compare_samples(check: LMCheck, before: Sequence[Tensor], after: Sequence[Tensor]) -> LMCheck:
    """Return a comparison of weights, corrected where equal weights gave other logits.

    Args:
        check: The comparison of the weights.
        before: Logits from ``sample_logits`` before training.
        after: Those after it.
    """
    pairs = list(zip(after, before, strict=False))
    if not check.bit_identical or all(_same_bits(mine, theirs) for mine, theirs in pairs):
        return check
    diff = max(_difference(mine, theirs, None) for mine, theirs in pairs)
    return replace(check, bit_identical=False, max_abs_diff=diff, compared="logits")


def compare_logits(
    backbone: Backbone,
    reference: Backbone,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    limit: int | None,
    reference_tokenizer: Tokenizer | None = None,
) -> LMCheck:
    """Compare two language models on texts, one text at a time, both in eval mode.

    Args:
        backbone: The model in question.
        reference: The model to compare with.
        tokenizer: The model's.
        texts: At least one.
        limit: Most tokens of a text.
        reference_tokenizer: The reference's, if it is another. Where one of the two knows words beyond the other's, the
            other's is the one that splits the texts.

    Raises:
        NoLanguageModelError: one of the two has no language model.
        BackboneError: their vocabularies differ in more than tokens that were added to one of them.
        InputError: there are no texts.
    """
    for side in (backbone, reference):
        if side.lm is None:
            raise NoLanguageModelError(f"{side.name}: holds no language model to check")
    if not texts:
        raise InputError("check_lm needs at least one text")
    common = _in_common(tokenizer, reference_tokenizer)
    tokenized = tokenize(common.tokenizer, texts, limit, forward_arguments(backbone.stack))
    _check_widths(backbone, reference, tokenized.inputs, common)
    pairs = []
    with evaluating(backbone), evaluating(reference):
        for ids, types in _rows(tokenized.inputs, backbone.device):
            mine, theirs = _logits(backbone, ids, types), _logits(reference, ids.to(reference.device), types)
            pairs.append((ids, mine, theirs.to(mine.device)))
    causal = backbone.facts.causal
    same = all(torch.equal(mine, theirs) for _, mine, theirs in pairs)
    # A token without an embedding row, such as a pad token of GPT-2, takes no probability.
    tokens = None if same else common.tokens
    return LMCheck(
        bit_identical=same,
        max_abs_diff=max(_difference(mine, theirs, tokens) for _, mine, theirs in pairs),
        perplexity=_perplexity([(ids, mine) for ids, mine, _ in pairs]) if causal else None,
        reference_perplexity=_perplexity([(ids, theirs) for ids, _, theirs in pairs]) if causal else None,
        new_tokens=0 if same else common.new,
    )


@dataclass(frozen=True)
class _Common:
    """The common part of two models' tokenizers.

    Attributes:
        tokenizer: The tokenizer whose tokens both models have.
        tokens: Number of common ids; ``None`` if there is no known difference.
        new: Number of tokens that only the model's tokenizer has; negative if the reference's has more.
    """

    tokenizer: Tokenizer
    tokens: int | None = None
    new: int = 0


def _in_common(tokenizer: Tokenizer, reference: Any) -> _Common:
    """Compare tokenizers, of which one may extend the other."""
    if tokenizer is None or reference is None or tokenizer is reference:
        return _Common(tokenizer)
    mine, theirs = tokenizer.get_vocab(), reference.get_vocab()
    fewer, more = (theirs, mine) if len(theirs) < len(mine) else (mine, theirs)
    if len(mine) == len(theirs) or any(more.get(token) != at for token, at in fewer.items()):
        return _Common(tokenizer)
    return _Common(reference if fewer is theirs else tokenizer, max(fewer.values()) + 1, len(mine) - len(theirs))


def _check_widths(backbone: Backbone, reference: Backbone, inputs: dict[str, list[list[int]]], common: _Common) -> None:
    """Check that both models can read the same ids and that their logits can be compared."""
    beyond = max(max(row) for row in inputs["input_ids"]) >= min(backbone.vocabulary_size, reference.vocabulary_size)
    if beyond or (backbone.vocabulary_size != reference.vocabulary_size and common.tokens is None):
        raise BackboneError(
            f"The vocabularies differ: {backbone.vocabulary_size} and {reference.vocabulary_size} tokens, and not by "
            "words that one was taught, as far as is known; give the reference with its tokenizer: as a path, or as "
            "HeadedModel.wrap(model, tokenizer)"
        )


def _difference(mine: Tensor, theirs: Tensor, tokens: int | None) -> float:
    """Return the largest difference of a logit, of the first ids alone if their number is given."""
    return float((mine[..., :tokens].float() - theirs[..., :tokens].float()).abs().max())


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
        # The decoder's input is the text again: any fixed input is suitable for a comparison.
        inputs["decoder_input_ids"] = ids
        inputs.pop("token_type_ids", None)
    with kept_state(backbone.model):
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
