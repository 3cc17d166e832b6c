"""The one way to answer: one feature pass for all heads that are asked in one precision, then one product per tap."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.labelled import words_for
from manyheads.data.texts.texts import Texts, check_is_list
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import HeadError, UntrainedHeadWarning, listed
from manyheads.features import BranchedSource, FeatureSource
from manyheads.features.apply_heads import apply_heads
from manyheads.features.cache import FeatureCache
from manyheads.features.extract import Pause, go_on
from manyheads.features.logits import empty_logits
from manyheads.features.running_cores import RunningCores
from manyheads.features.source import identity_of
from manyheads.heads import Head, Logits
from manyheads.heads.windows import Windows
from manyheads.inference.blocks import row_blocks, stream_predictions
from manyheads.inference.feature_arrays import check_feature_taps, feature_values, join_values, values_of_texts
from manyheads.inference.pairs import check_pairs
from manyheads.inference.predictions import Predictions
from manyheads.inference.settings import ScoringSettings
from manyheads.inference.text_parts import Part, Readers, TextParts, as_rows
from manyheads.taps import BackboneTap, Tap
from manyheads.types import Features, Prediction, Tokenizer


class Scorer:
    """Answers texts with the heads of a core, and gives out features, from one pass of the backbone.

    Behind ``model.predict``, ``Predictor``, scored tables, evaluation and the command line.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        settings: How texts are scored.
        cache: Where features are kept, or ``None``.
        pause: Called before each batch of the backbone; an error that it raises stops the pass.
    """

    def __init__(
        self,
        core: HeadedCore,
        tokenizer: Tokenizer,
        settings: ScoringSettings | None = None,
        cache: FeatureCache | None = None,
        pause: Pause = go_on,
    ) -> None:
        self._core = core
        self._tokenizer = tokenizer
        self._settings = ScoringSettings() if settings is None else settings
        self._cache = cache
        self._pause = pause
        self._running = RunningCores(core, self._settings.precision)

    @property
    def settings(self) -> ScoringSettings:
        """How texts are scored."""
        return self._settings

    def with_settings(self, settings: ScoringSettings) -> Scorer:
        """Return a scorer with other settings; in the same precision it runs the weights that are converted already."""
        other = Scorer(self._core, self._tokenizer, settings, self._cache, self._pause)
        if settings.precision == self._settings.precision:
            other._running = self._running
        return other

    def pausing(self, pause: Pause) -> Scorer:
        """Return this scorer with another function that is called before each batch of the backbone."""
        other = Scorer(self._core, self._tokenizer, self._settings, self._cache, pause)
        other._running = self._running
        return other

    def on(self, core: HeadedCore) -> Scorer:
        """Return a scorer of another core on the same backbone, with the same tokenizer, settings and pauses."""
        return Scorer(core, self._tokenizer, self._settings, self._cache, self._pause)

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
        chosen = self.chosen(heads)
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
        chosen = self.chosen(heads)
        _warn_untrained(self._core.heads.with_dependencies(chosen))

        def prepare(texts: Texts, where: Sequence[str]) -> TextParts:
            return self._prepare(texts, chosen, where=where)

        return stream_predictions(items, prepare, self._score)

    def features(self, texts: Texts, taps: Sequence[Tap]) -> Mapping[Tap, Any]:
        """Return the features of texts, by tap: fp32 (rows, ...), or ``Ragged`` with (tokens, width) per row.

        Raises:
            HeadError: a tap that has no features of its own.
            InputError: a text beyond the limit under ``long_text="error"``.
        """
        return self._score(self._prepare(texts, {}, self._resolved(taps))).features

    def chosen(self, names: Iterable[str] | None) -> dict[str, Head]:
        """Return heads by name; all by default.

        Raises:
            HeadError: there is none.
        """
        chosen = self._core.heads.chosen(names)
        if not chosen:
            reason = "heads=[] names none" if self._core.heads else "this model has none"
            raise HeadError(f"There is no head to predict with: {reason}; add one with add_head, and train it")
        return chosen

    def prepare(self, texts: Texts, heads: Mapping[str, Head]) -> TextParts:
        """Return texts as rows of tokens, to be predicted by ``predict_prepared``.

        Args:
            texts: As in ``__call__``.
            heads: The heads that will read them; perhaps none.

        Raises:
            The same as ``__call__``.
        """
        _warn_untrained(self._core.heads.with_dependencies(heads))
        return self._prepare(texts, heads)

    def predict_prepared(self, prepared: TextParts, known: Mapping[BackboneTap, Features] | None = None) -> Predictions:
        """Predict texts with features from another pass over them, such as the prefill of a generation.

        Args:
            prepared: The texts.
            known: Features of all rows by ``stored`` tap, on the CPU, in the loaded precision. What is missing is
                computed here.
        """
        return self._score(prepared, known)

    def in_loaded_precision(self, heads: Mapping[str, Head]) -> dict[str, Head]:
        """Return those of some heads that are asked in the precision of the loaded weights."""
        groups = self._running.groups(heads)
        return next((group for running, group in groups if running is self._core), {})

    def _resolved(self, taps: Sequence[Tap]) -> dict[Tap, BackboneTap]:
        return check_feature_taps(taps, self._core.backbone.facts)

    def _prepare(
        self,
        texts: Texts,
        heads: Mapping[str, Head],
        taps: Mapping[Tap, BackboneTap] | None = None,
        where: Sequence[str] | None = None,
    ) -> TextParts:
        """Return the texts as rows of tokens."""
        _check_pairs(heads, texts)
        readers = Readers(heads, {} if taps is None else taps)
        words = words_for(heads, texts)
        return as_rows(self._core, self._tokenizer, texts, readers, self._settings, words, where)

    def _score(self, prepared: TextParts, known: Mapping[BackboneTap, Features] | None = None) -> Predictions:
        """Run the backbone over all rows, and return the predictions; ``known`` are features of the rows that need no
        pass."""
        heads, taps = prepared.readers.heads, prepared.readers.taps
        giving = self._running.for_features(heads) if taps else None
        logits: dict[str, Logits] = {}
        features: dict[Tap, Any] = {}
        for part in prepared.parts:
            found, values = self._run_part(part, giving, {} if known is None else known)
            logits |= {name: self._of_texts(heads[name], own, part.windows) for name, own in found.items()}
            features |= {tap: values_of_texts(values[tap], part.windows, tap) for tap in values}
        return Predictions(
            {name: head.spec for name, head in heads.items()},
            {name: logits[name] for name in heads},
            prepared.texts.empty,
            prepared.truncated,
            prepared.words,
            {name: head.decision for name, head in heads.items()},
            {tap: features[tap] for tap in taps},
            prepared.windows,
            prepared.tokens,
        )

    def _of_texts(self, head: Head, logits: Logits, windows: Windows) -> Logits:
        """Return the logits of texts from those of their windows."""
        if not windows.split.any():
            return logits
        return head.spec.logits_of_texts(logits, windows, self._settings.long_text)

    def _run_part(
        self, part: Part, giving: HeadedCore | None, known: Mapping[BackboneTap, Features]
    ) -> tuple[dict[str, Logits], dict[Tap, Any]]:
        """Run the backbone over the rows of a part, some thousands at a time; return the logits of its heads and the
        features of its taps, which the core ``giving`` gives out."""
        tokenized, heads, taps = part.tokenized, part.readers.heads, part.readers.taps
        digest = None if self._cache is None else self._core.backbone.digest()
        parts: list[dict[str, Logits]] = [empty_logits(heads, tokenized, np.arange(0))]
        values: dict[Tap, list[Any]] = {tap: [] for tap in taps}
        for rows in row_blocks(tokenized.lengths):
            chunk = tokenized if len(rows) == len(tokenized) else tokenized.part(rows)
            own = {tap: features.rows(rows) for tap, features in known.items()}
            logits, found = self._run(chunk, part.readers, giving, digest, own)
            parts.append(logits)
            for tap, array in found.items():
                values[tap].append(array)
        joined = {
            name: head.spec.logits_type.joined([logits[name] for logits in parts]) for name, head in heads.items()
        }
        facts = self._core.backbone.facts
        return joined, {tap: join_values(found, taps[tap], facts) for tap, found in values.items()}

    def _run(
        self,
        tokenized: Tokenized,
        readers: Readers,
        giving: HeadedCore | None,
        digest: str | None,
        known: Mapping[BackboneTap, Features],
    ) -> tuple[dict[str, Logits], dict[Tap, Any]]:
        """Return the logits of the heads and the features of the taps, each precision in one pass."""
        rows = np.arange(len(tokenized))
        logits: dict[str, Logits] = {}
        values: dict[Tap, Any] = {}
        groups = self._running.groups(readers.heads)
        if giving is not None and readers.taps and all(running is not giving for running, _ in groups):
            groups.append((giving, {}))
        for running, group in groups:
            given = readers.taps if running is giving else {}
            identity = None if digest is None else identity_of(running.backbone, digest)
            own = FeatureSource(running, tokenized, self._cache, identity, self._settings.token_budget, self._pause)
            if running is self._core:
                own.add(known)
            read = [*self._core.heads.taps_of(group), *given.values()]
            tables = BranchedSource(self._core, own).read(read, rows)
            logits |= apply_heads(self._core, tables, group, rows, tokenized)
            values |= {tap: feature_values(tables[resolved], rows) for tap, resolved in given.items()}
        return logits, values


def _check_pairs(heads: Mapping[str, Head], texts: Texts) -> None:
    """Check that heads trained on pairs of texts get pairs, and others single texts.

    Raises:
        TextError: the other form.
    """
    columns = {name: head.summary["text"] for name, head in heads.items() if head.summary.get("text") is not None}
    pairs = {name: names for name, names in columns.items() if isinstance(names, list)}
    check_pairs({name: name in pairs for name in columns}, texts, pairs)


def _warn_untrained(heads: Mapping[str, Head]) -> None:
    untrained = [name for name, head in heads.items() if not head.is_usable]
    if untrained:
        warnings.warn(
            f"Untrained heads predict at random: {listed(untrained)}; train them first",
            UntrainedHeadWarning,
            stacklevel=4,
        )
