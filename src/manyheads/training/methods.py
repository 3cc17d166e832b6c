"""How to train: each method a small object that holds only its own settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.core import HeadedCore
from manyheads.errors import HeadError
from manyheads.features import FeatureTable, extract_features
from manyheads.heads import Head
from manyheads.inference.predictor import apply_heads
from manyheads.taps import Tap
from manyheads.training.data import TrainingData
from manyheads.training.labelled import labelled_rows
from manyheads.training.linear import LinearFitter
from manyheads.training.rows import HeadRows, class_weights_of
from manyheads.training.stepped import SteppedFitter
from manyheads.training.trial import Fit


@dataclass(frozen=True)
class Outcome:
    """What a method leaves behind, besides trained heads.

    Attributes:
        fits: Head name -> how it was fitted.
        logits: Head name -> fp32 logits of the evaluation rows.
    """

    fits: Mapping[str, Fit]
    logits: Mapping[str, np.ndarray]


class Method(ABC):
    """How heads are trained."""

    @abstractmethod
    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Train the heads in place; if it fails or is interrupted, none of them has changed."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings, as plain JSON."""


@dataclass(frozen=True)
class Frozen(Method):
    """Leave the backbone as it is: run it once over every text, then solve each head on its features.

    A linear head is solved to its optimum by L-BFGS (squared error in closed form), so its dropout, a help against
    overfitting by steps, is not used: L2 takes that part. Heads with hidden layers, attention pooling or a mix of
    layers are stepped by AdamW on the stored features, and stop early.

    Args:
        l2: Strength of the penalty on standardised features (``C = 1 / (l2 * rows)`` in scikit-learn's words);
            ``None`` chooses it per head on held-out training rows.

    Raises:
        HeadError: a negative or non-finite strength.
    """

    l2: float | None = None

    def __post_init__(self) -> None:
        if self.l2 is not None and not 0 <= self.l2 < float("inf"):
            raise HeadError(f"Frozen: l2 must be a finite number of at least 0, got {self.l2!r}")

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Extract features once, then fit every head on its labelled rows."""
        tables = extract_features(core, data.tokenized, [tap for head in heads.values() for tap in head.taps])
        rows = {name: _head_rows(name, head, data, tables) for name, head in heads.items()}
        fits = {name: self._fitter(head).fit(head, rows[name]) for name, head in heads.items()}
        for name, head in heads.items():
            install(head, fits[name].state, rows[name].class_weights)
        logits = apply_heads(core, tables, heads, data.evaluate, data.tokenized.lengths)
        return Outcome(fits, logits)

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        return {"method": "Frozen", "l2": self.l2}

    def _fitter(self, head: Head) -> LinearFitter | SteppedFitter:
        return LinearFitter(self.l2) if head.linear else SteppedFitter()


def install(head: Head, state: Mapping[str, Tensor], class_weights: Tensor | None) -> None:
    """Put new weights into a head, on its own device."""
    head.load_state_dict(dict(state), strict=True)
    device = head.output.weight.device
    head.set_class_weights(None if class_weights is None else class_weights.to(device=device, dtype=torch.float32))
    head.trained = True


def _head_rows(name: str, head: Head, data: TrainingData, tables: Mapping[Tap, FeatureTable]) -> HeadRows:
    targets = data.targets[name]
    places = data.train[labelled_rows(head.spec, targets[data.train])]
    return HeadRows(
        tables=tables,
        taps=head.taps,
        places=places,
        targets=targets[places],
        texts=[data.texts[row] for row in places],
        class_weights=class_weights_of(head, targets[places]),
        seed=data.seed,
    )
