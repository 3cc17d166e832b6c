"""The method ``Frozen``: search taps, compute features once, fit every head on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from manyheads.core import HeadedCore
from manyheads.errors import MethodError, listed
from manyheads.features import FeatureCache, FeatureSource, identity_of, open_cache
from manyheads.features.apply_heads import apply_heads
from manyheads.features.precision import DTYPES, feature_core, precision_record
from manyheads.heads import Head, HeadSpec
from manyheads.runtime.progress import progress_bar, spinner
from manyheads.taps import BackboneTap, Branched, Tap, Words
from manyheads.training.dataset import TrainingData
from manyheads.training.frozen.head_fit import HeadFit
from manyheads.training.frozen.stacking import Stacking
from manyheads.training.method import Method, Outcome
from manyheads.training.searching.candidates import candidates
from manyheads.training.searching.search import search
from manyheads.training.searching.shortlist import Shortlist
from manyheads.training.solving.criterion import LOSS, MAIN, METRICS
from manyheads.types import BackboneFacts


@dataclass(frozen=True, eq=False)
class SharedFeatures:
    """Features of all rows, for one training or several.

    Attributes:
        core: The core that computes them.
        source: The features.
    """

    core: HeadedCore
    source: FeatureSource


@dataclass(frozen=True)
class Frozen(Method):
    """Train heads on a frozen backbone: one backbone pass per text, whose features are cached, then one fit per head.

    For a head with ``reads="auto"``, layers, poolings, the bag of tokens, the first word and sets of these are screened
    on training rows. The best sets are solved exactly, and the simplest within one standard error is chosen. For a
    token head, layers, sets of them and the neighbors of words are screened. From 6,400 rows on a set with the bag is
    solved whatever the screening says of it. With 16,000 training rows or words and more, sets are compared on a
    quarter of them, and the largest within one standard error is chosen: it gains most from the rest.

    A linear head is solved to its optimum by L-BFGS, or in closed form for squared error. L2 regularizes it, and its
    dropout is ignored. With ``init="lm_head"`` the penalty pulls towards the initial weights, at a scale chosen on
    held-out rows (``prior`` in ``result.chosen``). Heads with hidden layers, attention pooling or a mix of layers are
    trained by AdamW on the stored features, with early stopping.

    Args:
        cache: Folder in which features are cached between runs: ``"auto"`` for the user's cache folder
            (``MANYHEADS_CACHE``, see ``manyheads cache``), a folder, or ``None`` for no cache. It contains vectors,
            never texts.
        dtype: Precision of the feature pass: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``. ``"auto"`` is
            bf16 where the hardware supports it and a few rows agree with fp32, else fp32; a dtype chosen at loading is
            kept. Predictions of the heads run in the same precision.
        l2: Strength of the L2 penalty on standardized features, ``1 / (C * rows)`` for scikit-learn's ``C``; ``None``
            chooses it per head on held-out training rows, by the loss after scaling the logits (temperature scaling,
            Guo et al. 2017), and scales the solution by the factor found (``scale`` in ``result.chosen``).
        select_by: By what the penalty and the taps are chosen on held-out training rows: ``"loss"``, ``"main"`` for
            each head's main metric (accuracy, micro F1, quadratic kappa, R squared), or a metric of all trained heads
            such as ``"macro_f1"``. A metric is noisier than the loss, so all folds are solved, and it says nothing
            about the probabilities. Token heads are chosen by the loss.
        label_names: Whether the labels' names may be further training rows, one text per label, for a multi-class or
            multi-label head with fewer than 20 labelled rows per label. They are used where that makes the error on
            held-out rows smaller by more than its standard error (``label_names`` in ``result.chosen``, their number).
            Words given as ``label_words`` stand for the names.

    Raises:
        MethodError: a negative or non-finite ``l2``, or an unknown ``dtype``.
        CacheError: ``cache`` is not a folder.

    Examples:
        >>> result = mh.train(model, table, text="note", method=mh.Frozen(l2=0.1))
        >>> result.chosen
        {'urgency': {'l2': 0.1}}
    """

    cache: str | Path | None = "auto"
    dtype: str | torch.dtype = "auto"
    l2: float | None = None
    select_by: str = LOSS
    label_names: bool = True

    hold_out_all: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.l2 is not None and not 0 <= self.l2 < float("inf"):
            raise MethodError(f"Frozen: l2 must be a finite number of at least 0, got {self.l2!r}")
        if self.select_by not in (LOSS, MAIN, *METRICS):
            known = [LOSS, MAIN, *METRICS]
            raise MethodError(
                f"Frozen: select_by must be one of {listed(known, most=len(known))}, got {self.select_by!r}"
            )
        if self.dtype != "auto" and self.dtype not in [*DTYPES, *DTYPES.values()]:
            raise MethodError(f"Frozen: dtype must be 'auto' or one of {listed(DTYPES)}, got {self.dtype!r}")

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Search taps, compute features once, then fit every head on its labelled rows."""
        return self.fit_on(self._features(core, heads, data), core, heads, data)

    def for_parts(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Method:
        """Return the method on features that are computed once."""
        return FrozenOnFeatures(self, self._features(core, heads, data))

    def fit_on(
        self, features: SharedFeatures, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData
    ) -> Outcome:
        """Search taps and fit every head on its labelled rows; see ``fit``."""
        running, source = features.core, features.source
        read_heads = {name for head in heads.values() for name in head.reads_heads}
        fits = [HeadFit(core, data, name, name in read_heads, self.label_names, self.hold_out_all) for name in heads]
        all_rows = np.concatenate([data.train, data.evaluate, *(fit.label_names for fit in fits)])
        self._search(core, source, fits, all_rows)
        fixed = [name for name in core.heads.with_dependencies(heads) if name not in heads]
        taps = [tap for fit in fits for tap_set in fit.tap_sets() for tap in tap_set]
        source.read(_frozen_taps([*taps, *core.heads.taps_of(fixed)]), all_rows)
        stacking = Stacking(core, source, data)
        with progress_bar("Fitting heads", len(fits), "heads") as advance:
            for fit in fits:
                fit.fit(stacking, self.l2, self.select_by)
                if fit.stacked:
                    stacking.add(fit.name, fit.fitted, fit.rows, fit.result.out_of_fold)
                advance(1)
        for fit in fits:
            fit.install(fit.fitted)
            fit.head.trained = True
        core.backbone.use_token_budget(running.backbone.token_budget)
        tables = stacking.read(core.heads.taps_of(heads), data.evaluate)
        logits = apply_heads(core, tables, heads, data.evaluate, data.tokenized)
        record = precision_record(core, running)
        return Outcome({fit.name: fit.result for fit in fits}, logits, record=record)

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings, without the cache: it does not affect the result."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {
            "method": "Frozen",
            "dtype": dtype,
            "l2": self.l2,
            "select_by": self.select_by,
            "label_names": self.label_names,
        }

    def _features(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> SharedFeatures:
        cache = open_cache(self.cache)
        running = self._feature_core(core, heads, data, cache)
        identity = identity_of(running.backbone, data.digest)
        return SharedFeatures(running, FeatureSource(running, data.tokenized, cache, identity))

    def _feature_core(
        self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, cache: FeatureCache | None
    ) -> HeadedCore:
        dtype = DTYPES.get(self.dtype, self.dtype) if isinstance(self.dtype, str) else self.dtype
        taps = [tap for head in core.heads.with_dependencies(heads).values() for tap in head.spec.taps]
        return feature_core(core, dtype, data.tokenized, _frozen_taps(taps), cache, data.digest)

    def _search(self, core: HeadedCore, source: FeatureSource, fits: Sequence[HeadFit], rows: np.ndarray) -> None:
        """Set the shortlist of every head whose taps are searched."""
        requests = {fit.name: fit.search_request() for fit in fits if fit.head.spec.searches_taps}
        if not requests:
            return
        facts = core.backbone.facts
        specs = [fit.head.spec for fit in fits if fit.name not in requests]
        other_taps = _frozen_taps([tap for spec in specs for tap in core.resolved(spec.taps)])
        with spinner("Searching layers and poolings"):
            dense = self._candidates(facts)
            shortlists = search(facts, dense, source, requests, other_taps, rows)
        for fit in fits:
            if fit.name in shortlists:
                fit.shortlist = self._usable(shortlists[fit.name], fit.head.spec, dense[0])

    def _candidates(self, facts: BackboneFacts) -> list[BackboneTap]:
        """Return the dense taps that a search tries, the default tap first."""
        return candidates(facts)

    def _usable(self, found: Shortlist, spec: HeadSpec, default: BackboneTap) -> Shortlist:
        """Return a head's shortlist in the form in which this method solves it."""
        return found


@dataclass(frozen=True, eq=False)
class FrozenOnFeatures(Method):
    """``Frozen`` for several trainings on parts of the same rows: each text is computed once.

    Args:
        method: The method.
        features: The features of all rows.
    """

    method: Frozen
    features: SharedFeatures

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Search taps and fit every head; see ``Frozen.fit``."""
        return self.method.fit_on(self.features, core, heads, data)

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        return self.method.describe()


@dataclass(frozen=True)
class FrozenBeside(Frozen):
    """``Frozen`` for heads that answer together with tuned ones, which is judged on rows that neither was fitted to.

    Args:
        share: Share of these heads in the answers; ``None`` chooses it for each head.
    """

    hold_out_all: ClassVar[bool] = True

    share: float | None = None


@dataclass(frozen=True)
class FrozenStart(Frozen):
    """``Frozen`` as the start of a tuning run: every head reads hidden states, which the run can improve.

    Heads that label words read the last layer beside the layers found, which are often in the middle: otherwise the
    blocks above these, which have most to learn, would get no gradient from the words.

    Args:
        top: Search the outputs of the top so many blocks only: those that the run changes.
    """

    top: int | None = None

    def _candidates(self, facts: BackboneFacts) -> list[BackboneTap]:
        return candidates(facts, self.top)

    def _usable(self, found: Shortlist, spec: HeadSpec, default: BackboneTap) -> Shortlist:
        (last,) = spec.as_read([default])
        if isinstance(last, Words):
            return found.with_last_layer(last)
        return found.with_hidden_states(default)


def _frozen_taps(taps: Iterable[Tap]) -> list[BackboneTap]:
    """Return the taps of the backbone itself, without those of other heads and of branches."""
    return [tap for tap in taps if isinstance(tap, BackboneTap) and not isinstance(tap, Branched)]
