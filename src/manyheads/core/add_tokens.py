"""Add tokens to the tokenizer and the rows for them to the backbone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from manyheads.core.module import HeadedCore
from manyheads.data.vocabulary.added_tokens import AddedTokens, add_to_tokenizer, plan_tokens
from manyheads.errors import InputError, NewTokensWarning, listed
from manyheads.types import Tokenizer

MEAN_OF_SUBWORDS = "mean of sub-words"


def add_tokens(core: HeadedCore, tokenizer: Tokenizer | None, words: Iterable[str], init: str) -> AddedTokens:
    """Add each word as one token, with a new row per token in the embeddings and the LM head.

    Args:
        core: Its backbone gets the rows, in place.
        tokenizer: The backbone's own; changed in place.
        words: Without spaces; words that are one token already are skipped.
        init: Initial value of the new rows; only ``"mean of sub-words"``.

    Raises:
        InputError: no tokenizer, a word that cannot be one token, or another ``init``.
        TextError: a word that is not a string.
        BackboneError: embeddings that cannot be resized, or quantized weights.
    """
    if init != MEAN_OF_SUBWORDS:
        raise InputError(f"add_tokens: init must be {MEAN_OF_SUBWORDS!r}, got {init!r:.60}")
    if tokenizer is None:
        raise InputError(
            "add_tokens: the model has no tokenizer; wrap the model with one: HeadedModel.wrap(model, tokenizer)"
        )
    plan = plan_tokens(tokenizer, words)
    backbone = core.backbone
    tokens, rows = len(tokenizer), backbone.vocabulary_size
    pieces = {word: tuple(tokenizer.convert_ids_to_tokens(ids)) for word, ids in plan.pieces.items()}
    if plan.tokens:
        backbone.add_token_rows({plan.ids[word]: ids for word, ids in plan.pieces.items()})
        add_to_tokenizer(tokenizer, plan)
        _warn_trained_heads(core, len(plan.tokens))
    return AddedTokens(tuple(plan.tokens), plan.known, pieces, tokens, len(tokenizer), rows, backbone.vocabulary_size)


def _warn_trained_heads(core: HeadedCore, count: int) -> None:
    trained = [name for name, head in core.heads.items() if head.trained]
    if trained:
        warnings.warn(
            f"{count} words were added to the tokenizer after the heads {listed(trained)} were trained: texts with "
            "these words are now tokenized differently; train the heads again",
            NewTokensWarning,
            stacklevel=4,
        )
