"""Predict texts: one feature pass for all heads that were trained in one precision, then one product per tap."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.labelled import words_for
from manyheads.data.texts.texts import Texts
from manyheads.errors import HeadError, TextError, UntrainedHeadWarning, listed
from manyheads.features import BranchedSource, FeatureSource
from manyheads.features.apply_heads import apply_heads
from manyheads.features.cache import FeatureCache
from manyheads.features.logits import empty_logits
from manyheads.features.precision import prediction_cores
from manyheads.features.source import identity_of
from manyheads.features.tokenize import tokenize_for
from manyheads.heads import Head, Logits
from manyheads.inference.predictions import Predictions
from manyheads.types import Tokenizer

# Rows whose features are in memory together.
_CHUNK = 16_384


def predict(
    core: HeadedCore,
    tokenizer: Tokenizer,
    texts: Texts,
    heads: Iterable[str] | None = None,
    max_length: int | None = None,
    long_text: str = "truncate",
    cache: FeatureCache | None = None,
) -> Predictions:
    """Predict texts with the chosen heads.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        texts: The texts; empty ones are predicted and flagged.
        heads: Names of heads; all by default.
        max_length: Most tokens of a text; the backbone's limit by default.
        long_text: ``"truncate"`` (and flag) or ``"error"``.
        cache: Where features are kept, or ``None``.

    Raises:
        HeadError: there is no head.
        InputError: a text beyond the limit under ``long_text="error"``.
    """
    chosen = core.heads.chosen(heads)
    if not chosen:
        reason = "heads=[] names none" if core.heads else "this model has none"
        raise HeadError(f"There is no head to predict with: {reason}; add one with add_head, and train it")
    _warn_untrained(core.heads.with_dependencies(chosen))
    _check_pairs(chosen, texts)
    words = words_for(chosen, texts)
    taps = core.heads.taps_of(chosen)
    tokenized = tokenize_for(core, tokenizer, texts.texts, max_length, long_text, taps=taps, words=words)
    digest = None if cache is None else core.backbone.digest()
    running = [
        (one, group, None if digest is None else identity_of(one.backbone, digest))
        for one, group in prediction_cores(core, chosen)
    ]
    parts: list[dict[str, Logits]] = [empty_logits(chosen, tokenized, np.arange(0))]
    for start in range(0, len(tokenized), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(tokenized)))
        part = tokenized if len(rows) == len(tokenized) else tokenized.part(rows)
        own = np.arange(len(rows))
        parts.append({})
        for one, group, identity in running:
            source = BranchedSource(core, FeatureSource(one, part, cache, identity))
            tables = source.read(core.heads.taps_of(group), own)
            parts[-1] |= apply_heads(core, tables, group, own, part)
    specs = {name: head.spec for name, head in chosen.items()}
    logits = {name: spec.logits_type.joined([part[name] for part in parts]) for name, spec in specs.items()}
    places = None if tokenized.words is None else [words.places for words in tokenized.words]
    decisions = {name: head.decision for name, head in chosen.items()}
    return Predictions(specs, logits, texts.empty, tokenized.truncated, places, decisions)


def _check_pairs(heads: Mapping[str, Head], texts: Texts) -> None:
    """Check that heads trained on pairs of texts get pairs, and others single texts.

    Raises:
        TextError: the other form.
    """
    are_pairs = any(not isinstance(text, str) for text in texts.texts)
    for name, head in heads.items():
        columns = head.summary.get("text")
        if columns is None or not len(texts) or isinstance(columns, list) == are_pairs:
            continue
        trained = f"pairs of texts ({listed(columns)})" if isinstance(columns, list) else "single texts"
        given = "pairs: [(text, other), ...]" if isinstance(columns, list) else "a list of strings"
        raise TextError(f"Head {name!r}: was trained on {trained}; give {given}")


def _warn_untrained(heads: Mapping[str, Head]) -> None:
    untrained = [name for name, head in heads.items() if not head.is_usable]
    if untrained:
        warnings.warn(
            f"Untrained heads predict at random: {listed(untrained)}; train them first",
            UntrainedHeadWarning,
            stacklevel=4,
        )
