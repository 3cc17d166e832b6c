"""The one way to answer: one feature pass for all heads that are asked in one precision, then one product per tap."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.labelled import words_for
from manyheads.data.texts.texts import Texts, check_is_list, read_texts_from_list
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import HeadError, TextError, UntrainedHeadWarning, listed
from manyheads.features import BranchedSource, FeatureSource
from manyheads.features.apply_heads import apply_heads
from manyheads.features.cache import FeatureCache
from manyheads.features.logits import empty_logits
from manyheads.features.running_cores import RunningCores
from manyheads.features.source import identity_of
from manyheads.features.tokenize import tokenize_for
from manyheads.heads import Head, Logits
from manyheads.inference.feature_arrays import check_feature_taps, feature_values, join_values
from manyheads.inference.predictions import Predictions
from manyheads.inference.settings import ScoringSettings
from manyheads.runtime.progress import quietly
from manyheads.taps import BackboneTap, Tap
from manyheads.types import Features, Prediction, Tokenizer

# Rows whose features are in memory together.
_CHUNK = 16_384
# Rows of a stream that are scored together; sorted by length, they leave little padding.
_STREAMED = 2_048


class Scorer:
    """Answers texts with the heads of a core, and gives out features, from one pass of the backbone.

    Behind ``model.predict``, ``Predictor``, scored tables, evaluation and the command line.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        settings: How texts are scored.
        cache: Where features are kept, or ``None``.
    """

    def __init__(
        self,
        core: HeadedCore,
        tokenizer: Tokenizer,
        settings: ScoringSettings | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        self._core = core
        self._tokenizer = tokenizer
        self._settings = ScoringSettings() if settings is None else settings
        self._cache = cache
        self._running = RunningCores(core, self._settings.precision)

    def __call__(self, texts: Texts, heads: Iterable[str] | None = None, taps: Sequence[Tap] = ()) -> Predictions:
        """Predict texts.

        Args:
            texts: The texts; empty ones are predicted and flagged.
            heads: Names of heads; all by default.
            taps: Taps whose features are returned too.

        Raises:
            HeadError: there is no head, or a tap that has no features of its own.
            TextError: pairs of texts for heads that were trained on single texts, or single texts for pairs.
            InputError: a text beyond the limit under ``long_text="error"``.
        """
        chosen = self._chosen(heads)
        _warn_untrained(self._core.heads.with_dependencies(chosen))
        return self._score(self._prepare(texts, chosen, self._resolved(taps)))

    def stream(self, items: Iterable[object], heads: Iterable[str] | None = None) -> Iterator[Mapping[str, Prediction]]:
        """Yield the predictions of texts in order, in bounded memory; the next texts are tokenized meanwhile.

        Args:
            items: Texts, in the form of a list that ``read_texts_from_list`` takes; read as needed.
            heads: As in ``__call__``.

        Raises:
            The same as ``__call__``, and:
            TextError: an item that is no text, after the predictions of the texts before its block of 2,048.
        """
        check_is_list(items)
        chosen = self._chosen(heads)
        _warn_untrained(self._core.heads.with_dependencies(chosen))
        return self._streamed(items, chosen)

    def features(self, texts: Texts, taps: Sequence[Tap]) -> Mapping[Tap, Any]:
        """Return the features of texts, by tap: fp32 (rows, ...), or ``Ragged`` with (tokens, width) per row.

        Raises:
            HeadError: a tap that has no features of its own.
            InputError: a text beyond the limit under ``long_text="error"``.
        """
        return self._score(self._prepare(texts, {}, self._resolved(taps))).features

    def with_pass(
        self,
        texts: Texts,
        heads: Iterable[str] | None,
        run: Callable[[Tokenized], Mapping[BackboneTap, Features]],
    ) -> Predictions:
        """Predict texts with features from another pass over them, such as the prefill of a generation.

        Args:
            texts: As in ``__call__``.
            heads: As in ``__call__``.
            run: Returns features of all rows by ``stored`` tap, on the CPU, in the loaded precision; called once. What
                it does not return is computed here.

        Raises:
            The same as ``__call__``.
        """
        chosen = self._chosen(heads)
        _warn_untrained(self._core.heads.with_dependencies(chosen))
        prepared = self._prepare(texts, chosen)
        return self._score(prepared, run(prepared.tokenized))

    def in_loaded_precision(self, heads: Iterable[str] | None) -> dict[str, Head]:
        """Return those of the chosen heads that are asked in the precision of the loaded weights."""
        groups = self._running.groups(self._core.heads.chosen(heads))
        return next((group for running, group in groups if running is self._core), {})

    def _streamed(self, items: Iterable[object], heads: Mapping[str, Head]) -> Iterator[Mapping[str, Prediction]]:
        with ThreadPoolExecutor(1, thread_name_prefix="manyheads-tokenize") as worker:
            blocks = (worker.submit(self._prepare_block, *block, heads) for block in _blocks(items))
            following = next(blocks, None)
            while following is not None:
                prepared, following = following.result(), next(blocks, None)
                with quietly():
                    predictions = self._score(prepared)
                yield from predictions

    def _prepare_block(self, items: list[object], first: int, heads: Mapping[str, Head]) -> _Prepared:
        with quietly():
            texts = read_texts_from_list(items, first)
            where = [f"The list of texts, row {row}" for row in range(first, first + len(items))]
            return self._prepare(texts, heads, where=where)

    def _chosen(self, names: Iterable[str] | None) -> dict[str, Head]:
        chosen = self._core.heads.chosen(names)
        if not chosen:
            reason = "heads=[] names none" if self._core.heads else "this model has none"
            raise HeadError(f"There is no head to predict with: {reason}; add one with add_head, and train it")
        return chosen

    def _resolved(self, taps: Sequence[Tap]) -> dict[Tap, BackboneTap]:
        return check_feature_taps(taps, self._core.backbone.facts)

    def _prepare(
        self,
        texts: Texts,
        heads: Mapping[str, Head],
        taps: Mapping[Tap, BackboneTap] | None = None,
        where: Sequence[str] | None = None,
    ) -> _Prepared:
        """Return the texts as tokens."""
        taps = {} if taps is None else taps
        _check_pairs(heads, texts)
        words = words_for(heads, texts)
        reading = [*self._core.heads.taps_of(heads), *taps.values()]
        settings = self._settings
        tokenized = tokenize_for(
            self._core,
            self._tokenizer,
            texts.texts,
            settings.max_length,
            settings.long_text,
            where,
            taps=reading,
            words=words,
        )
        return _Prepared(texts, tokenized, heads, taps)

    def _score(self, prepared: _Prepared, known: Mapping[BackboneTap, Features] | None = None) -> Predictions:
        """Run the backbone over all rows, some thousands at a time, and return the predictions."""
        tokenized, heads, taps = prepared.tokenized, prepared.heads, prepared.taps
        digest = None if self._cache is None else self._core.backbone.digest()
        parts: list[dict[str, Logits]] = [empty_logits(heads, tokenized, np.arange(0))]
        values: dict[Tap, list[Any]] = {tap: [] for tap in taps}
        for start in range(0, len(tokenized), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(tokenized)))
            part = tokenized if len(rows) == len(tokenized) else tokenized.part(rows)
            own = {tap: features.rows(rows) for tap, features in (known or {}).items()}
            logits, found = self._run(part, heads, taps, digest, own)
            parts.append(logits)
            for tap, array in found.items():
                values[tap].append(array)
        specs = {name: head.spec for name, head in heads.items()}
        return Predictions(
            specs,
            {name: spec.logits_type.joined([part[name] for part in parts]) for name, spec in specs.items()},
            prepared.texts.empty,
            tokenized.truncated,
            None if tokenized.words is None else [words.places for words in tokenized.words],
            {name: head.decision for name, head in heads.items()},
            {tap: join_values(found, taps[tap], self._core.backbone.facts) for tap, found in values.items()},
        )

    def _run(
        self,
        tokenized: Tokenized,
        heads: Mapping[str, Head],
        taps: Mapping[Tap, BackboneTap],
        digest: str | None,
        known: Mapping[BackboneTap, Features],
    ) -> tuple[dict[str, Logits], dict[Tap, Any]]:
        """Return the logits of the heads and the features of the taps, each precision in one pass."""
        rows = np.arange(len(tokenized))
        logits: dict[str, Logits] = {}
        values: dict[Tap, Any] = {}
        giving = self._running.for_features(heads) if taps else None
        groups = self._running.groups(heads) or ([] if giving is None else [(giving, {})])
        for running, group in groups:
            given = taps if running is giving else {}
            identity = None if digest is None else identity_of(running.backbone, digest)
            own = FeatureSource(running, tokenized, self._cache, identity, self._settings.token_budget)
            if running is self._core:
                own.add(known)
            read = [*self._core.heads.taps_of(group), *given.values()]
            tables = BranchedSource(self._core, own).read(read, rows)
            logits |= apply_heads(self._core, tables, group, rows, tokenized)
            values |= {tap: feature_values(tables[resolved], rows) for tap, resolved in given.items()}
        return logits, values


@dataclass(frozen=True)
class _Prepared:
    """Tokenized texts, and what is asked of them."""

    texts: Texts
    tokenized: Tokenized
    heads: Mapping[str, Head]
    taps: Mapping[Tap, BackboneTap]


def _blocks(items: Iterable[object]) -> Iterator[tuple[list[object], int]]:
    """Yield the items of a stream in blocks, each with the number of its first item from 1."""
    remaining, first = iter(items), 1
    while block := list(islice(remaining, _STREAMED)):
        yield block, first
        first += len(block)


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
