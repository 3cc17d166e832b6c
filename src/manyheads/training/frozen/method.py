"""Train heads on a backbone that stays as it is: choose what each reads, read it once, solve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.core import HeadedCore
from manyheads.data.split import first_of_each
from manyheads.errors import HeadError, listed
from manyheads.features import FeatureCache, FeatureSource, FeatureTable, identity_of, open_cache
from manyheads.features.apply_heads import apply_heads
from manyheads.features.precision import feature_core
from manyheads.heads import Head, HeadSpec, Targets
from manyheads.taps import Branched, Lexical, Output, Tap
from manyheads.taps.lexical import LexicalReader, lexicon
from manyheads.taps.lm_logits import LMLogitsReader
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import HeadFit
from manyheads.training.frozen.stacking import Stacking
from manyheads.training.method import Method, Outcome
from manyheads.training.searching.choose import fit_simplest
from manyheads.training.searching.shortlist import SearchRequest, Shortlist, screen
from manyheads.training.solving.design_of_head import token_ids
from manyheads.training.solving.gradient_fit import GradientFitter
from manyheads.training.solving.head_rows import HeadTrainingSet, class_weights_of
from manyheads.training.solving.linear_fit import LinearFitter

# Texts per gradient step, about.
_STEP_TEXTS = 32
# Precisions a feature pass may be asked for by name.
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Frozen(Method):
    """Leave the backbone as it is: run it once over every text, ever, then solve each head on its features.

    A head whose ``reads`` is ``"auto"`` is told what to read: layers, poolings, pairs of them and the bag of tokens are
    screened on training rows, the best are solved exactly, and the simplest within one standard error is taken. A token
    head reads the last layer then, without a search.

    A linear head is solved to its optimum by L-BFGS (squared error in closed form), so its dropout, a help against
    overfitting by steps, is not used: L2 takes that part. Where the head has ``init="lm_head"``, the penalty pulls
    towards that start, at a scale that held-out rows choose (``prior`` in ``result.chosen``). Heads with hidden layers,
    attention pooling or a mix of layers are stepped by AdamW on the stored features, and stop early.

    Args:
        cache: Where features are kept between runs: ``"auto"`` for the user's cache folder (``MANYHEADS_CACHE``, see
            ``manyheads cache``), a folder, or ``None``. Vectors are kept there, never texts.
        dtype: Precision of the feature pass: ``"auto"`` (bf16 where the hardware has it and a few rows agree with
            fp32, else fp32; a dtype chosen at loading stays), or ``"float32"``, ``"bfloat16"``, ``"float16"``.
        l2: Strength of the penalty on standardised features (``C = 1 / (l2 * rows)`` in scikit-learn's words);
            ``None`` chooses it per head on held-out training rows.

    Raises:
        HeadError: a negative or non-finite strength, or a precision that is none of these.
        CacheError: a cache that is no folder.
    """

    cache: str | Path | None = "auto"
    dtype: str | torch.dtype = "auto"
    l2: float | None = None

    def __post_init__(self) -> None:
        if self.l2 is not None and not 0 <= self.l2 < float("inf"):
            raise HeadError(f"Frozen: l2 must be a finite number of at least 0, got {self.l2!r}")
        if self.dtype != "auto" and self.dtype not in [*_DTYPES, *_DTYPES.values()]:
            raise HeadError(f"Frozen: dtype must be 'auto' or one of {listed(_DTYPES)}, got {self.dtype!r}")

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Choose taps, extract features once, then fit every head on its labelled rows."""
        cache = open_cache(self.cache)
        running = self._running(core, heads, data, cache)
        identity = identity_of(running.backbone, data.digest)
        source = FeatureSource(running, data.tokenized, cache, identity)
        places = {name: data.labelled(name) for name in heads}
        shortlists = self._shortlists(core, source, heads, data, places)
        sets = {name: _sets(core, head, shortlists.get(name)) for name, head in heads.items()}
        wanted = [tap for alternatives in sets.values() for taps in alternatives for tap in taps]
        standing = [name for name in core.heads.with_dependencies(heads) if name not in heads]
        everything = np.concatenate([data.train, data.evaluate])
        source.read(_passing([*wanted, *core.heads.taps_of(standing)]), everything)
        stacking = Stacking(core, source, data)
        fits: dict[str, HeadFit] = {}
        fitted: dict[str, Head] = {}
        for name, head in heads.items():
            targets = data.targets[name].take(places[name])
            ready = [ready_head(core, head.spec, taps, source, places[name], targets) for taps in sets[name]]
            read = any(name in other.reads_heads for other in heads.values())
            rows = [
                _head_rows(one, data, name, places[name], stacking.read(one.taps, places[name]), read) for one in ready
            ]
            fits[name], fitted[name] = self._fitted(list(zip(ready, rows, strict=True)), shortlists.get(name))
            if read:
                stacking.add(name, fitted[name], places[name], fits[name])
        for name, head in heads.items():
            install(head, fitted[name], class_weights_of(head, data.targets[name].take(places[name])))
        core.backbone.token_budget = running.backbone.token_budget
        tables = stacking.read(core.heads.taps_of(heads), data.evaluate)
        return Outcome(fits, apply_heads(core, tables, heads, data.evaluate, data.tokenized))

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings; where features are kept is nobody else's business."""
        return {"method": "Frozen", "dtype": str(self.dtype).removeprefix("torch."), "l2": self.l2}

    def _shortlists(
        self,
        core: HeadedCore,
        source: FeatureSource,
        heads: Mapping[str, Head],
        data: TrainingData,
        places: Mapping[str, np.ndarray],
    ) -> dict[str, Shortlist]:
        """Return what is worth solving, for heads that want to be told what to read."""
        asking = self._asking(heads)
        if not asking:
            return {}
        asked: dict[str, SearchRequest] = {}
        for name, spec in asking.items():
            once = places[name][first_of_each([data.texts[row] for row in places[name]])]
            asked[name] = SearchRequest(spec, once, spec.target_scores(data.targets[name].take(once).values))
        also = [tap for name, head in heads.items() if name not in asking for tap in core.resolved(head.spec.taps)]
        everything = np.concatenate([data.train, data.evaluate])
        return screen(core.backbone.facts, source, asked, _passing(also), everything)

    def _asking(self, heads: Mapping[str, Head]) -> dict[str, HeadSpec]:
        """Return the heads that want to be told what to read; those that start from the LM head, and those that label
        words, read the last layer."""
        return {name: head.spec for name, head in heads.items() if head.spec.searches_taps}

    def _running(
        self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, cache: FeatureCache | None
    ) -> HeadedCore:
        dtype = _DTYPES.get(self.dtype, self.dtype) if isinstance(self.dtype, str) else self.dtype
        taps = [tap for head in core.heads.with_dependencies(heads).values() for tap in head.spec.taps]
        return feature_core(core, dtype, data.tokenized, _passing(taps), cache, data.digest)

    def _fitted(self, ready: list[tuple[Head, HeadTrainingSet]], shortlist: Shortlist | None) -> tuple[HeadFit, Head]:
        """Fit one head on the best of its alternatives; return what it reads, with its new weights."""
        if ready[0][0].linear:
            fit, head = fit_simplest(LinearFitter(self.l2), ready)
        else:
            head, rows = ready[0]
            fit = GradientFitter(batch_rows=_STEP_TEXTS * head.spec.items_per_text).fit(head, rows)
        head.load_state_dict(dict(fit.state), strict=True)
        screened = [] if shortlist is None else shortlist.alternatives
        return replace(fit, alternatives=[*screened, *fit.alternatives]), head


@dataclass(frozen=True)
class FrozenStart(Frozen):
    """Solve heads on frozen features for a method that goes on from there: what ``"auto"`` reads is not searched, since
    the layers will change, and is the default tap."""

    def _asking(self, heads: Mapping[str, Head]) -> dict[str, HeadSpec]:
        """Return none: every head reads what its spec names."""
        return {}


def install(head: Head, fitted: Head, class_weights: Tensor | None) -> None:
    """Let a head become a fitted one, on its own device and in its own mode."""
    device = head.output.weight.device
    head.take_over(fitted.to(device).train(head.training))
    head.set_class_weights(None if class_weights is None else class_weights.to(device=device, dtype=torch.float32))
    head.trained = True


def ready_head(
    core: HeadedCore,
    spec: HeadSpec,
    taps: Sequence[Tap],
    source: FeatureSource,
    places: np.ndarray,
    targets: Targets,
) -> Head:
    """Return a fresh head on some taps, in main memory, with what its readers take from these rows without solving.

    Args:
        core: Whose backbone it reads.
        spec: The head's.
        taps: Resolved.
        source: Of features.
        places: Its labelled training rows.
        targets: Their targets.
    """
    lexical = [tap for tap in taps if isinstance(tap, Lexical)]
    texts = token_ids(source.read(lexical[:1], places)[lexical[0]].take(places)) if lexical else None
    counted = [lexicon(texts, tap.tokens) if isinstance(tap, Lexical) and texts is not None else None for tap in taps]
    sized = [tap if count is None else Lexical(len(count[0])) for tap, count in zip(taps, counted, strict=True)]
    head = core.start_head(core.build_head(spec, sized)).cpu()
    counts = dict(zip(sized, counted, strict=True))  # two of one size weigh the same tokens, and are one
    for tap, reader in zip(head.taps, head.readers, strict=True):
        count = counts[tap]
        if isinstance(reader, LexicalReader) and count is not None:
            reader.learn(*count)
        if isinstance(reader, LMLogitsReader):
            reader.choose(
                source.read([tap], places)[tap].take(places).values,
                torch.from_numpy(spec.target_scores(targets.values)),
            )
    return head


def _sets(core: HeadedCore, head: Head, shortlist: Shortlist | None) -> list[tuple[Tap, ...]]:
    """Return the sets of taps to fit a head on: those that were short-listed, or what its spec names."""
    if shortlist is None:
        return [tuple(core.resolved(head.spec.taps))]
    # Stepping is too slow to compare by; what screening prefers is taken.
    return [shortlist.preferred] if head.spec.hidden else shortlist.sets


def _passing(taps: Sequence[Tap]) -> list[Tap]:
    """Return the taps of the backbone as it is, without those of other heads or of a branch."""
    return [tap for tap in taps if not isinstance(tap, Output | Branched)]


def _head_rows(
    head: Head, data: TrainingData, name: str, places: np.ndarray, tables: Mapping[Tap, FeatureTable], read: bool
) -> HeadTrainingSet:
    targets = data.targets[name].take(places)
    items = targets.items()
    return HeadTrainingSet(
        tables={tap: targets.select(table, places) for tap, table in tables.items()},
        taps=head.taps,
        targets=items.targets,
        texts=[data.texts[row] for row in places[items.rows]],
        class_weights=class_weights_of(head, targets),
        seed=data.seed,
        read=read,
    )
