"""The data that a method trains on: token ids, targets, training rows and evaluation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        held_out: Row numbers of training rows that are not trained on, but used to choose settings; may be empty.
        sample_weight: Weight of each training row, fp64, above 0, and 1 for evaluation rows of another table; ``None``
            if all count alike.
        seed: Seed of every random choice.
        digest: Digest of the backbone's tensors, part of the key of cached features.
        others: Further training texts without labels.
        label_names: Head name -> row numbers of texts that are the names of its labels, one per label at most; only
            for heads with few labelled rows per label.
    """

    tokenized: Tokenized
    texts: Sequence[Any]
    targets: Mapping[str, Targets]
    train: np.ndarray
    evaluate: np.ndarray
    seed: int
    digest: str
    others: Tokenized | None = None
    held_out: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    sample_weight: np.ndarray | None = None
    label_names: Mapping[str, np.ndarray] = field(default_factory=dict)

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the weights of some rows, ``None`` if all rows count alike."""
        return None if self.sample_weight is None else self.sample_weight[rows]

    def labelled(self, name: str) -> np.ndarray:
        """Return the training rows with a label of a head."""
        rows: np.ndarray = self.train[self.targets[name].labelled[self.train]]
        return rows

    def labelled_held_out(self, name: str) -> np.ndarray:
        """Return the held-out rows with a label of a head."""
        rows: np.ndarray = self.held_out[self.targets[name].labelled[self.held_out]]
        return rows


def row_classes(targets: Mapping[str, Targets], rows: np.ndarray) -> list[set[tuple[str, int]]]:
    """Return the classes of all heads that each of some rows has, as pairs of head and class, to split the rows by."""
    classes: list[set[tuple[str, int]]] = [set() for _ in rows]
    for name, encoded in targets.items():
        for own, found in zip(classes, encoded.take(rows).classes(), strict=True):
            own.update((name, position) for position in found)
    return classes
