"""What a head that reads others learns from, while those are being fitted in the same run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
import torch

from manyheads.core import HeadedCore
from manyheads.features import FeatureSource, FeatureTable
from manyheads.features.apply_heads import apply_heads
from manyheads.features.table import GivenTable
from manyheads.heads import Head
from manyheads.taps import Branched, Output, Tap
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import HeadFit


class Stacking:
    """Features for heads that are fitted one after the other, none of them in its place yet.

    Args:
        core: Whose heads they are.
        source: Features of the backbone as it runs for training, maybe in another precision.
        data: The rows.
    """

    def __init__(self, core: HeadedCore, source: FeatureSource, data: TrainingData) -> None:
        self._core, self._source, self._data = core, source, data
        self._fitted: dict[str, Head] = {}
        self._out_of_fold: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, name: str, head: Head, places: np.ndarray, fit: HeadFit) -> None:
        """Take in a head that was fitted on these rows, for those that read it."""
        self._fitted[name] = head
        if len(fit.out_of_fold):
            seen = ~np.isnan(fit.out_of_fold).any(axis=1)
            self._out_of_fold[name] = places[seen], fit.out_of_fold[seen]

    def read(self, taps: Iterable[Tap], rows: np.ndarray) -> dict[Tap, FeatureTable]:
        """Return one table per tap that holds at least these rows, outputs of other heads included."""
        taps = list(taps)
        # A branch is no part of a backbone in another precision.
        branched = [tap for tap in taps if isinstance(tap, Branched)]
        others = [tap for tap in taps if not isinstance(tap, Branched | Output)]
        tables = self._source.read(others, rows)
        tables |= self._branches.read(branched, rows) if branched else {}
        said = {tap: GivenTable(rows, self._said(tap.head, rows)) for tap in taps if isinstance(tap, Output)}
        return tables | said

    @cached_property
    def _branches(self) -> FeatureSource:
        return FeatureSource(self._core, self._data.tokenized)

    def _said(self, name: str, rows: np.ndarray) -> torch.Tensor:
        """Return what a head says of rows: by weights that did not see them, where there are such."""
        logits = self._plain(name, rows)
        if name in self._out_of_fold:
            places, unseen = self._out_of_fold[name]
            _, here, there = np.intersect1d(rows, places, assume_unique=True, return_indices=True)
            logits[here] = unseen[there]
        return torch.from_numpy(self._core.heads[name].spec.scores(logits))

    def _plain(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a head's logits (rows, outputs) by the weights that it will have, or has."""
        stood = HeadedCore(self._core.backbone)
        for other, head in self._core.heads.with_dependencies([name]).items():
            stood.heads.add(
                other, self._fitted[other].to(self._core.backbone.device) if other in self._fitted else head
            )
        heads: Mapping[str, Head] = stood.heads
        tables = self.read(stood.heads.taps_of([name]), rows)
        logits: np.ndarray = apply_heads(stood, tables, {name: heads[name]}, rows, self._data.tokenized)[name].values
        return logits
