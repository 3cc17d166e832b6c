"""Features for heads that read the output of heads fitted earlier in the same run."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from manyheads.core import HeadedCore
from manyheads.features import BranchedSource, FeatureSource, FeatureTable
from manyheads.features.apply_heads import apply_heads
from manyheads.features.table import GivenTable
from manyheads.heads import Head
from manyheads.taps import BackboneTap, Output, Tap
from manyheads.training.dataset import TrainingData


class Stacking:
    """Reads features for heads that are fitted one after the other, before any of them is installed.

    Args:
        core: The model.
        source: Features of its backbone as it runs for training, possibly in another precision.
        data: Training and evaluation rows.
    """

    def __init__(self, core: HeadedCore, source: FeatureSource, data: TrainingData) -> None:
        self.source = source
        self._core, self._data = core, data
        self._features = BranchedSource(core, source)
        self._fitted: dict[str, Head] = {}
        self._out_of_fold: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, name: str, fitted: Head, rows: np.ndarray, out_of_fold: np.ndarray) -> None:
        """Add a fitted head for the heads that read it.

        Args:
            name: The head's name.
            fitted: The head with its new weights.
            rows: The rows it was fitted on (n,).
            out_of_fold: Its logits there (n, outputs) from weights that were fitted without each row, NaN where there
                are none; or empty.
        """
        self._fitted[name] = fitted
        if len(out_of_fold):
            held_out = ~np.isnan(out_of_fold).any(axis=1)
            self._out_of_fold[name] = rows[held_out], out_of_fold[held_out]

    def read(self, taps: Iterable[Tap], rows: np.ndarray) -> dict[Tap, FeatureTable]:
        """Return one table per tap that contains at least these rows, for outputs of other heads too."""
        taps = list(taps)
        tables = self._features.read([tap for tap in taps if isinstance(tap, BackboneTap)], rows)
        outputs: dict[Tap, FeatureTable] = {
            tap: GivenTable(rows, tap.read(self._scores(tap.head, rows))) for tap in taps if isinstance(tap, Output)
        }
        return tables | outputs

    def _scores(self, name: str, rows: np.ndarray) -> torch.Tensor:
        """Return a head's scores (rows, scores), from weights that were fitted without each row where there are any."""
        logits = self._logits(name, rows)
        if name in self._out_of_fold:
            held_out, out_of_fold = self._out_of_fold[name]
            _, here, there = np.intersect1d(rows, held_out, assume_unique=True, return_indices=True)
            logits[here] = out_of_fold[there]
        return torch.from_numpy(self._core.heads[name].spec.raw_scores(logits))

    def _logits(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a head's logits (rows, outputs) with its new weights, or its own where it does not train."""
        core = HeadedCore(self._core.backbone)
        for other, head in self._core.heads.with_dependencies([name]).items():
            fitted = self._fitted.get(other)
            core.heads.add(other, head if fitted is None else fitted.to(core.backbone.device))
        tables = self.read(core.heads.taps_of([name]), rows)
        logits = apply_heads(core, tables, {name: core.heads[name]}, rows, self._data.tokenized)[name]
        values: np.ndarray = logits.values
        return values
