"""The folds of a table: equal texts are in one fold, and labels are spread over the folds evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from manyheads.data.split import folds_by_text, text_groups
from manyheads.errors import DataError, LabelError, counted, listed
from manyheads.heads import Head
from manyheads.training.auto.comparison_rows import untrainable
from manyheads.training.dataset import TrainingData, row_classes

# A learning curve trains on the rows divided by each of these.
_DIVISORS = (8, 4, 2)


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
        seed: Of the folds and of the trainings.

    Raises:
        DataError: fewer different texts than folds.
        LabelError: a head cannot be trained without one of the folds.
    """
    texts = [data.texts[row] for row in data.train]
    fold_of = folds_by_text(texts, folds, seed, row_classes(data.targets, data.train))
    parts = [
        replace(data, train=data.train[fold_of != fold], evaluate=data.train[fold_of == fold], seed=seed)
        for fold in range(folds)
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


def smaller_parts(parts: Sequence[TrainingData], heads: Mapping[str, Head], seed: int) -> dict[int, list[TrainingData]]:
    """Return the parts with an eighth, a quarter and a half of their training rows, by divisor, each share part of the
    larger ones; shares on which a head cannot be trained are left out.

    Args:
        parts: Training and evaluation rows of each fold.
        heads: The heads to train.
        seed: Decides which rows are left.
    """
    nested = [_nested(part, seed) for part in parts]
    found = {
        divisor: [own[divisor] for own in nested] for divisor in _DIVISORS if all(divisor in own for own in nested)
    }
    return {
        divisor: smaller for divisor, smaller in found.items() if not any(untrainable(one, heads) for one in smaller)
    }


def _nested(data: TrainingData, seed: int) -> dict[int, TrainingData]:
    """Return the data with a share of its training rows, by divisor; none with too few texts to divide."""
    texts = [data.texts[row] for row in data.train]
    most = max(_DIVISORS)
    if len(text_groups(texts)[1]) < most:
        return {}
    part_of = folds_by_text(texts, most, seed, row_classes(data.targets, data.train))
    return {divisor: replace(data, train=data.train[part_of < most // divisor]) for divisor in _DIVISORS}
