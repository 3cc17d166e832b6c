"""The folds of a table: equal texts are in one fold, and labels are spread over the folds evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from manyheads.data.split import folds_by_text
from manyheads.errors import DataError, LabelError, counted, listed
from manyheads.heads import Head
from manyheads.training.auto.comparison_rows import untrainable
from manyheads.training.dataset import TrainingData, row_classes


def check_whole(name: str, value: object, least: int) -> None:
    """Check that an argument is a whole number and not too small.

    Raises:
        DataError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(f"{name} must be a whole number of at least {least}, got {value!r}")


def divided(data: TrainingData, heads: Mapping[str, Head], folds: int, seed: int) -> list[TrainingData]:
    """Return the data once per fold, with the fold's rows as evaluation rows and all others as training rows.

    Args:
        data: All rows as training rows.
        heads: The heads to train.
        folds: Number of folds.
        seed: Of the folds.

    Raises:
        DataError: fewer different texts than folds.
        LabelError: a head cannot be trained without one of the folds.
    """
    texts = [data.texts[row] for row in data.train]
    fold_of = folds_by_text(texts, folds, seed, row_classes(data.targets, data.train))
    parts = [
        replace(data, train=data.train[fold_of != fold], evaluate=data.train[fold_of == fold]) for fold in range(folds)
    ]
    for fold, part in enumerate(parts):
        unable = untrainable(part, heads)
        if unable:
            raise LabelError(
                f"Head {listed(unable)}: without fold {fold + 1} of {folds}, too few labels are left to train on; add "
                "rows, or take other folds"
            )
    return parts


def rare_label_notes(data: TrainingData, heads: Mapping[str, Head], folds: int) -> list[str]:
    """Return a sentence on the labels of each head that have fewer rows than there are folds."""
    return [
        f"Head {name!r}: {counted(len(rare), 'label')} with fewer than {folds} rows, such as {rare[0]!r}: some folds "
        "test none."
        for name, head in heads.items()
        if (rare := _rare_labels(data, name, head, folds))
    ]


def _rare_labels(data: TrainingData, name: str, head: Head, folds: int) -> Sequence[object]:
    counts = Counter(place for row in data.targets[name].take(data.train).classes() for place in row)
    return [label for place, label in enumerate(getattr(head.spec, "classes", ())) if 0 < counts[place] < folds]


def nested_shares(data: TrainingData, shares: Sequence[int], seed: int) -> dict[int, TrainingData]:
    """Return the data with only a share of its training rows, each share part of the larger ones.

    Args:
        data: Training and evaluation rows.
        shares: Divisors of the number of training rows, such as 8 for an eighth; the largest is a multiple of all.
        seed: Decides the draw.

    Returns:
        Divisor -> data.

    Raises:
        DataError: fewer different texts than the largest divisor.
    """
    texts = [data.texts[row] for row in data.train]
    most = max(shares)
    part_of = np.zeros(len(texts), dtype=np.int64)
    if most > 1:
        part_of = folds_by_text(texts, most, seed, row_classes(data.targets, data.train))
    return {share: replace(data, train=data.train[part_of < most // share]) for share in shares}
