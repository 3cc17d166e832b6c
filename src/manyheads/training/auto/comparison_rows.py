"""The training rows on which methods are compared: no method trains on them, and they choose nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from manyheads.data.split import split_by_text
from manyheads.heads import Head
from manyheads.training.dataset import TrainingData, row_classes

# The part of the training rows, the fewest on which a difference between methods shows, and the most: more are better
# trained on.
_FRACTION = 0.2
MIN_ROWS = 40
_MAX_ROWS = 1000
# Training rows that give MIN_ROWS.
MIN_TRAINING_ROWS = round(MIN_ROWS / _FRACTION)


def for_comparison(data: TrainingData) -> TrainingData | None:
    """Return the data with some training rows as its evaluation rows; ``None`` if there are too few.

    Equal texts are on one side, and every class keeps a text to train on. The evaluation rows of ``data`` are left out.
    """
    if len(data.train) < MIN_TRAINING_ROWS:
        return None
    texts = [data.texts[row] for row in data.train]
    fraction = min(_FRACTION, _MAX_ROWS / len(texts))
    train, compare = split_by_text(texts, fraction, data.seed, row_classes(data.targets, data.train))
    if len(compare) < MIN_ROWS:
        return None
    return replace(data, train=data.train[train], evaluate=data.train[compare])


def untrainable(data: TrainingData, heads: Mapping[str, Head]) -> list[str]:
    """Return the heads that cannot learn from the training rows: fewer than two texts, or labels of one class only."""
    return [name for name, head in heads.items() if not _is_trainable(data, name, head)]


def _is_trainable(data: TrainingData, name: str, head: Head) -> bool:
    rows = data.labelled(name)
    if len({data.texts[row] for row in rows}) < 2:
        return False
    return not head.spec.has_labels or len(np.unique(data.targets[name].take(rows).items().targets, axis=0)) > 1
