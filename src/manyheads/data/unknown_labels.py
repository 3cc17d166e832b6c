"""Labels of an evaluation table that a head does not have: they are named and count as wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.errors import did_you_mean
from manyheads.heads import HeadSpec, Targets
from manyheads.heads.cells.labels import LabelIndex
from manyheads.heads.cells.spans import SplitText


@dataclass(frozen=True)
class UnknownLabels:
    """The labels of a table that a head does not have.

    Attributes:
        labels: These labels.
        spec: The head's spec with these labels after its own; for metrics, not for a head.
        targets: The table's targets with all labels.
    """

    labels: tuple[object, ...]
    spec: HeadSpec
    targets: Targets

    @property
    def shown(self) -> str:
        """The labels, with the closest one of the head, for messages."""
        own: Sequence[object] = getattr(self.spec, "labels", ())[: -len(self.labels)]
        shown = [f"{label!r}{did_you_mean(label, own)}".rstrip(".") for label in self.labels[:4]]
        return ", ".join(shown) + ("" if len(self.labels) <= 4 else f" and {len(self.labels) - 4} more")

    def take(self, rows: np.ndarray) -> UnknownLabels:
        """Return the labels of some rows, in the order given."""
        return dataclasses.replace(self, targets=self.targets.take(rows))

    def of_words(self, words: Sequence[np.ndarray]) -> UnknownLabels:
        """Return the labels of some words of each row; labels of whole rows are returned unchanged."""
        return dataclasses.replace(self, targets=self.targets.of_words(words))


def find_unknown(
    spec: HeadSpec, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None
) -> UnknownLabels | None:
    """Return the labels in a column that a head does not have, or ``None``; arguments as for ``HeadSpec.encode``."""
    index = LabelIndex(getattr(spec, "labels", ()))
    found = tuple(dict.fromkeys(label for label in spec.labels_in_cells(cells) if index.find(label) is None))
    if not found:
        return None
    extended = spec.with_further_labels(found)
    return UnknownLabels(found, extended, extended.encode(cells, head, source, texts))
