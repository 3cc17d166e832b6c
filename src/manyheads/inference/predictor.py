"""Predict texts: one feature pass for all heads, then as few matrix products as there are taps."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from manyheads.backbone.limits import token_limit
from manyheads.backbone.stack.stack import accepted, evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import plan_batches
from manyheads.data.texts.texts import Texts
from manyheads.data.texts.tokenize import Tokenized, tokenize
from manyheads.data.texts.words import Place
from manyheads.errors import HeadError, InputError, UntrainedHeadWarning, listed
from manyheads.features import FeatureSource, FeatureTable
from manyheads.features.logits import LogitRows, Logits, joined
from manyheads.heads import Head, Tokens
from manyheads.inference.predictions import Predictions
from manyheads.taps import Tap

# Rows whose features are held at once.
_CHUNK = 16_384
# Numbers of one head's input that are held at once.
_HELD_VALUES = 1 << 27


def predict(
    core: HeadedCore,
    tokenizer: Any,
    texts: Texts,
    heads: Iterable[str] | None = None,
    max_length: int | None = None,
    long_text: str = "truncate",
) -> Predictions:
    """Predict texts with the chosen heads.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        texts: The texts; empty ones are predicted and flagged.
        heads: Names of heads; all by default.
        max_length: Most tokens of a text; the backbone's limit by default.
        long_text: ``"truncate"`` (and flag) or ``"error"``.

    Raises:
        HeadError: there is no head to ask.
        InputError: a text beyond the limit under ``long_text="error"``.
    """
    chosen = core.heads.chosen(heads)
    if not chosen:
        reason = "heads=[] names none" if core.heads else "this model has none"
        raise HeadError(f"There is no head to predict with: {reason}; add one with add_head, and train it")
    _warn_untrained(core.heads.with_read(chosen))
    taps = core.heads.taps_of(chosen)
    words = words_for(chosen, texts)
    tokenized = tokenize_for(core, tokenizer, texts.texts, max_length, long_text, taps=taps, words=words)
    parts: list[dict[str, Logits]] = []
    for start in range(0, len(tokenized), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(tokenized)))
        part = tokenized if len(rows) == len(tokenized) else tokenized.part(rows)
        own = np.arange(len(rows))
        tables = FeatureSource(core, part).read(taps, own)
        parts.append(apply_heads(core, tables, chosen, own, part.lengths))
    specs = {name: head.spec for name, head in chosen.items()}
    logits = {name: joined(spec, [part[name] for part in parts]) for name, spec in specs.items()}
    places = None if tokenized.words is None else [words.places for words in tokenized.words]
    return Predictions(specs, logits, texts.empty, tokenized.truncated, places)


def words_for(heads: Mapping[str, Head], texts: Texts) -> list[list[Place]] | None:
    """Return where each text's words stand, if any of the heads labels words.

    Raises:
        TextError: pairs of texts, whose words no head labels.
    """
    rule = next((head.spec.words for head in heads.values() if isinstance(head.spec, Tokens)), None)
    return None if rule is None else texts.words(rule)


def tokenize_for(
    core: HeadedCore,
    tokenizer: Any,
    texts: Sequence[Any],
    max_length: int | None = None,
    long_text: str = "truncate",
    places: Sequence[str] | None = None,
    taps: Iterable[Tap] = (),
    words: Sequence[Sequence[Place]] | None = None,
) -> Tokenized:
    """Tokenize for this backbone, cut to ``max_length`` or to its own limit, whichever is less; see
    :func:`manyheads.data.texts.tokenize.tokenize`.

    A text that fits alone but not with the prompt that a tap puts around it counts as cut: there, its end gives way.

    Raises:
        InputError: a ``max_length`` that is no positive number, or beyond the backbone's limit.
    """
    limit = token_limit(core.backbone.model, tokenizer)
    if max_length is not None:
        if max_length < 1 or (limit is not None and max_length > limit):
            raise InputError(f"max_length must lie between 1 and the backbone's limit {limit}, got {max_length}")
        limit = max_length
    prompts = core.backbone.templates(core.request(tap.resolve(core.backbone.facts) for tap in taps))
    if prompts and any(isinstance(text, tuple) for text in texts):
        raise InputError(f"The prompt {next(iter(prompts))!r:.60} stands around one text; give no pairs")
    room = [template.limit - template.added for template in prompts.values() if template.limit is not None]
    least = min(room, default=None)
    return tokenize(tokenizer, texts, limit, accepted(core.backbone.stack), long_text, places, least, words)


def apply_heads(
    core: HeadedCore,
    tables: Mapping[Tap, FeatureTable],
    heads: Mapping[str, Head],
    rows: np.ndarray,
    lengths: np.ndarray,
) -> dict[str, Logits]:
    """Return the heads' fp32 logits on stored features, in eval mode.

    Heads that read pooled features take all rows at once; where a head reads tokens, rows go in padded batches.

    Args:
        core: Whose heads they are.
        tables: Features by tap of the backbone, for the heads and for those that they read.
        heads: The heads, by name.
        rows: Which rows of the tables.
        lengths: Tokens of each row of the tables.
    """
    by_tokens = {name for name in heads if any(tables[tap].by_token for tap in core.heads.taps_of([name]))}
    pooled = [name for name in heads if name not in by_tokens]
    logits: dict[str, Logits] = dict(_in_blocks(core, tables, pooled, rows))
    if by_tokens:
        logits |= _in_batches(core, tables, sorted(by_tokens), rows, lengths)
    return {name: logits[name] for name in heads}


def _in_blocks(
    core: HeadedCore, tables: Mapping[Tap, FeatureTable], names: Sequence[str], rows: np.ndarray
) -> dict[str, np.ndarray]:
    """Take as many rows at once as a head's input allows, which may be a whole vocabulary wide."""
    widest = max((head.width for head in core.heads.with_read(names).values()), default=1)
    size = max(1, _HELD_VALUES // widest)
    parts = [_logits(core, tables, names, rows[start : start + size])[0] for start in range(0, max(len(rows), 1), size)]
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in names}


def _in_batches(
    core: HeadedCore, tables: Mapping[Tap, FeatureTable], names: Sequence[str], rows: np.ndarray, lengths: np.ndarray
) -> dict[str, Logits]:
    found = LogitRows({name: core.heads[name].spec for name in names}, len(rows))
    for places in plan_batches(lengths[rows]):
        found.put(places, *_logits(core, tables, names, rows[places]))
    return found.logits()


def _logits(
    core: HeadedCore, tables: Mapping[Tap, FeatureTable], names: Sequence[str], rows: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return logits, and how many words each row has, where a head reads words."""
    if not names:
        return {}, None
    device = core.backbone.device
    taps = core.heads.taps_of(names)
    with evaluating(core.heads):
        read = {tap: tables[tap].take(rows).to(device) for tap in taps}
        logits = {name: values.cpu().numpy() for name, values in core.heads(read, names).items()}
    masks = [features.mask for tap, features in read.items() if tap.by_word]
    return logits, None if not masks or masks[0] is None else masks[0].sum(dim=1).cpu().numpy()


def _warn_untrained(heads: Mapping[str, Head]) -> None:
    untrained = [name for name, head in heads.items() if not head.says_something]
    if untrained:
        warnings.warn(
            f"Heads that never saw a label predict at random: {listed(untrained)}; train them first",
            UntrainedHeadWarning,
            stacklevel=4,
        )
