"""Fit one head on stored features: its rows, the sets of taps to try, the fit and its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from manyheads.core import HeadedCore
from manyheads.data.split import first_of_each
from manyheads.deciding.after_training import decide
from manyheads.deciding.held_out import HeldOut
from manyheads.features import FeatureSource
from manyheads.heads import Decision, Head
from manyheads.taps import BackboneTap, Tap
from manyheads.taps.base import Reader
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import FitResult
from manyheads.training.frozen.stacking import Stacking
from manyheads.training.searching.choose import fit_simplest
from manyheads.training.searching.search import SearchRequest
from manyheads.training.searching.shortlist import Shortlist
from manyheads.training.solving.criterion import criterion_of
from manyheads.training.solving.gradient_fit import GradientFitter
from manyheads.training.solving.head_rows import HeadTrainingSet, class_weights_of
from manyheads.training.solving.linear_fit import LinearFitter
from manyheads.types import Features

# Texts per gradient step.
_STEP_TEXTS = 32
_NO_ROWS = np.empty(0, dtype=np.int64)


class HeadFit:
    """Fits one head of a model; the model changes only in ``install``.

    Args:
        core: The model.
        data: Training rows and targets.
        name: The head's name.
        stacked: Whether a head of the same run reads this one.
        label_names: Whether the names of its labels may be further rows.
        hold_out_all: Whether every row gets logits from weights that were fitted without it. So it is anyway where rows
            are few, where another head reads this one, and where thresholds are fitted.

    Attributes:
        head: The model's head.
        rows: Its labelled training rows (n,).
        targets: Their targets.
        label_names: Row numbers of the names of its labels that may be further rows; often none.
        decision: After ``fit``: fitted on out-of-fold rows.
        shortlist: Sets of taps to try, set by a search; ``None`` for the taps of the spec.
        fitted: After ``fit``: a head with the new weights, on the CPU.
        result: After ``fit``: the settings it chose, and the alternatives.
    """

    fitted: Head
    result: FitResult

    def __init__(
        self,
        core: HeadedCore,
        data: TrainingData,
        name: str,
        stacked: bool = False,
        label_names: bool = True,
        hold_out_all: bool = False,
    ) -> None:
        self.name = name
        self.head = core.heads[name]
        self.rows = data.labelled(name)
        self.targets = data.targets[name].take(self.rows)
        self.shortlist: Shortlist | None = None
        self.stacked = stacked
        self.hold_out_all = hold_out_all or stacked or "thresholds" in self.head.spec.decided_by
        tried = label_names and self.head.linear
        self.label_names = data.label_names.get(name, _NO_ROWS) if tried else _NO_ROWS
        self.decision = Decision(costs=self.head.decision.costs)
        self._core, self._data = core, data
        self._item_weights = data.weights_of(self.rows[self.targets.items().rows])
        self._sample_weight = None if self._item_weights is None else torch.from_numpy(self._item_weights)
        self._class_weights = class_weights_of(self.head, self.targets, self._sample_weight)

    def search_request(self) -> SearchRequest:
        """Return the request to search the head's taps."""
        distinct = first_of_each([self._data.texts[row] for row in self.rows])
        return SearchRequest(self.head.spec, self.rows[distinct], self.targets.take(distinct))

    def tap_sets(self) -> Sequence[tuple[Tap, ...]]:
        """Return the sets of taps to fit the head on, the simplest first."""
        if self.shortlist is None:
            return [tuple(self._core.resolved(self.head.spec.taps))]
        # Training by steps is too slow to compare sets.
        return [self.shortlist.preferred] if self.head.spec.hidden else self.shortlist.sets

    def fit(self, stacking: Stacking, l2: float | None, select_by: str) -> None:
        """Fit the head on the best of its sets of taps.

        Args:
            stacking: Reads features; contains the heads that this one reads.
            l2: Strength of the penalty; ``None`` chooses it.
            select_by: By what it and the taps are chosen.
        """
        heads = [self.prepared_head(stacking.source, taps) for taps in self.tap_sets()]
        sets = [self._training_set(stacking, head) for head in heads]
        if heads[0].linear:
            criterion = criterion_of(select_by, self.name, self.head.spec)
            named = partial(self._training_set, stacking, label_names=self.label_names)
            fitter = LinearFitter(l2, criterion)
            result, self.fitted = fit_simplest(
                fitter, list(zip(heads, sets, strict=True)), named if len(self.label_names) else None
            )
        else:
            by_steps = GradientFitter(batch_rows=_STEP_TEXTS * self.head.spec.items_per_text)
            result, self.fitted = by_steps.fit(heads[0], sets[0]), heads[0]
        self.fitted.load_state_dict(dict(result.state), strict=True)
        screened = [] if self.shortlist is None else self.shortlist.alternatives
        items = self.targets.items()
        held_out = HeldOut(result.out_of_fold, items.targets, self._texts(items.rows), self._item_weights).known
        self.decision, temperature = decide(self.head.spec, held_out, self.head.decision, self._data.seed)
        alternatives = [*screened, *result.alternatives]
        self.result = replace(result, alternatives=alternatives, temperature=temperature)

    def prepared_head(self, source: FeatureSource, taps: Sequence[Tap]) -> Head:
        """Return a fresh head on the CPU whose readers are prepared on its training rows, without a fit.

        Args:
            source: Features of the rows.
            taps: Resolved taps to read instead of the spec's.
        """
        # Texts of rows that are held out say nothing about their labels, so terms are learned from them too: a head
        # that is tuned on the others then knows the terms of one that is solved on all of them.
        every_row = np.sort(np.concatenate([self.rows, self._data.labelled_held_out(self.name)]))
        rows_of: dict[Tap, np.ndarray] = {
            tap: self.rows if tap.prepares_by_labels else every_row for tap in taps if tap.prepares
        }
        tables = source.read([tap for tap in rows_of if isinstance(tap, BackboneTap)], every_row)
        features: dict[Tap, Features] = {tap: tables[tap].take(rows) for tap, rows in rows_of.items() if tap in tables}
        # Taps that become equal are one.
        facts = self._core.backbone.facts
        sized = {tap.sized(features[tap], facts) if tap in features else tap: features.get(tap) for tap in taps}
        head = self._core.start_head(self._core.build_head(self.head.spec, sized)).cpu()
        for tap, reader in zip(head.taps, head.readers, strict=True):
            found = sized[tap]
            if found is not None:
                target_scores = self.head.spec.target_scores(self.targets.values)
                cast(Reader, reader).prepare(found, torch.from_numpy(target_scores))
        return head

    def install(self, replacement: Head) -> None:
        """Give the model's head the taps and weights of another head, the class weights of its training rows, and the
        decision fitted with the weights.
        """
        device, weights = self.head.output.weight.device, self._class_weights
        self.head.take_over(replacement.to(device).train(self.head.training))
        self.head.set_class_weights(None if weights is None else weights.to(device=device, dtype=torch.float32))
        self.head.decision = self.decision

    def _texts(self, rows: np.ndarray) -> list[Any]:
        """Return the texts of some of its rows."""
        return [self._data.texts[row] for row in self.rows[rows]]

    def _training_set(self, stacking: Stacking, head: Head, label_names: np.ndarray = _NO_ROWS) -> HeadTrainingSet:
        """Return the training set of a prepared head, with rows that are names of labels after its own."""
        rows = np.concatenate([self.rows, label_names])
        tables, targets = stacking.read(head.taps, rows), self._data.targets[self.name].take(rows)
        items = targets.items()
        weights = self._data.weights_of(rows[items.rows])
        return HeadTrainingSet(
            tables={tap: targets.select(table, rows) for tap, table in tables.items()},
            taps=head.taps,
            targets=items.targets,
            classes=targets.item_classes(),
            texts=[self._data.texts[row] for row in rows[items.rows]],
            class_weights=self._class_weights,
            seed=self._data.seed,
            sample_weight=None if weights is None else torch.from_numpy(weights),
            hold_out_all=self.hold_out_all,
            label_names=len(label_names),
        )
