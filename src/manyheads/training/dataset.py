"""The data that a method trains on: token ids, targets, training rows and evaluation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.texts.tokenize import Tokenized
from manyheads.heads import Targets


@dataclass(frozen=True)
class Evaluation:
    """The choice of the evaluation rows.

    Attributes:
        data: A table of evaluation rows, or ``None`` to hold out rows of the training table.
        fraction: Share of the rows to hold out.
        seed: Seed of the split and of every other random choice of the training.
    """

    data: object = None
    fraction: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class TrainingData:
    """The data that a method trains on. Row numbers refer to ``tokenized``.

    Attributes:
        tokenized: Training and evaluation rows.
        texts: The texts, for splits with equal texts on one side.
        targets: Head name -> encoded targets; of a token head, of the words that have a token.
        train: Row numbers to train on.
        evaluate: Row numbers to evaluate on; may be empty.
        seed: Seed of every random choice.
        digest: Digest of the backbone's tensors, part of the key of cached features.
        others: Further training texts without labels.
    """

    tokenized: Tokenized
    texts: Sequence[Any]
    targets: Mapping[str, Targets]
    train: np.ndarray
    evaluate: np.ndarray
    seed: int
    digest: str
    others: Tokenized | None = None

    def labelled(self, name: str) -> np.ndarray:
        """Return the training rows with a label of a head."""
        rows: np.ndarray = self.train[self.targets[name].labelled[self.train]]
        return rows
