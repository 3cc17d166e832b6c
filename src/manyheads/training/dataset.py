"""From a table to what methods train on: token ids, targets, and which rows train and which evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.texts.tokenize import Tokenized
from manyheads.heads import Targets


@dataclass(frozen=True)
class Evaluation:
    """Which rows are evaluated on.

    Attributes:
        data: A table of their own, or ``None``.
        fraction: Share of the training table's rows held out where they have none.
        seed: Of the draw, and of every other random choice of the training.
    """

    data: object = None
    fraction: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class TrainingData:
    """What a method trains on. Rows are those of ``tokenized``.

    Attributes:
        tokenized: Training and evaluation rows.
        texts: Their texts: equal ones are never on both sides of a split.
        targets: Head name -> encoded targets; of a token head, those of the words that have a token.
        train: Row numbers to train on.
        evaluate: Row numbers to evaluate on; may be empty.
        seed: For every random choice.
        digest: Of the backbone's tensors, by which cached features are found.
        others: The method's further texts, without labels.
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
