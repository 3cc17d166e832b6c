"""The common part of the kinds with named labels: the labels, and one probability for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from manyheads.errors import HeadError, did_you_mean, listed
from manyheads.heads.base import Column, HeadSpec, is_number
from manyheads.heads.cells.labels import checked_labels


@dataclass(frozen=True, repr=False)
class LabelledSpec(HeadSpec):
    """A head with named labels and one score per label, or per tag of a token head.

    Args:
        labels: Different label names (str, int, float or bool), in the order of the scores.
        label_smoothing: Share of each target that is spread evenly (Szegedy et al. 2016, section 7): over all labels of
            a multi-class head, over yes and no for each label of a multi-label head and each task of an ordinal head.
        label_words: The words for each label with ``init="lm_head"``: label -> a word, a phrase, or several of them.
            The default is the label's name.

    Raises:
        HeadError: a setting out of its range, or labels that are not all different.
    """

    least_labels: ClassVar[int]
    has_labels: ClassVar[bool] = True
    decided_by: ClassVar[frozenset[str]] = frozenset({"temperature"})

    labels: Sequence[object]
    label_smoothing: float = field(default=0.0, kw_only=True)
    label_words: Mapping[Any, str | Sequence[str]] | Sequence[Sequence[str]] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checked_labels(self.owner, self.labels, self.least_labels))
        object.__setattr__(self, "class_weights", self._in_order(self.class_weights))
        object.__setattr__(self, "label_words", self._checked_words())
        super().__post_init__()
        if self.label_words is not None and self.init != "lm_head":
            raise HeadError(f"{self.owner}: label_words are for init='lm_head'; give that too, or leave them out")
        if not (is_number(self.label_smoothing) and 0.0 <= self.label_smoothing < 1.0):
            raise HeadError(f"{self.owner}: label_smoothing must be a number in [0, 1), got {self.label_smoothing!r}")

    def with_new_label(self, label: object) -> LabelledSpec:
        """Return the spec with one more label after its own, with the class weight 1.

        Raises:
            HeadError: it has this label.
        """
        weights: Any = self.class_weights
        words: Any = self.label_words
        added: dict[str, Any] = {
            "class_weights": weights if weights is None or isinstance(weights, str) else [*weights, 1.0],
            "label_words": None if words is None else [*words, (str(label),)],
        }
        return replace(self, labels=[*self.labels, label], **added)

    def with_further_labels(self, labels: Sequence[object]) -> LabelledSpec:
        """Return a spec with these labels after its own; its settings for training are the defaults."""
        known: dict[str, Any] = {"class_weights": None, "label_words": None, "init": "random"}
        return replace(self, labels=[*self.labels, *labels], **known)

    @property
    def classes(self) -> tuple[object, ...]:
        """The names of the scores, in their order: the labels."""
        return tuple(self.labels)

    @property
    def outputs(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def score_width(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def label_words_of(self) -> list[tuple[str, ...]]:
        """The words of each label."""
        named = self.label_words or [()] * len(self.labels)
        return [tuple(words) or (str(label),) for label, words in zip(self.labels, named, strict=True)]

    @property
    def cells_of_labels(self) -> list[object]:
        """One cell per label that means this label alone."""
        return list(self.labels)

    def _checked_words(self) -> tuple[tuple[str, ...], ...] | None:
        """Return words in the order of the labels, none where a label's name is its word."""
        given = self.label_words
        if given is None:
            return None
        if not isinstance(given, Mapping):
            by_label = dict(zip(self.labels, given, strict=False))
            if isinstance(given, str) or len(given) != len(self.labels):
                raise HeadError(f"{self.owner}: label_words must map labels to words, got {given!r:.80}")
            given = by_label
        unknown = [label for label in given if label not in self.labels]
        if unknown:
            raise HeadError(
                f"{self.owner}: label_words: {unknown[0]!r} is not among {len(self.labels)} labels"
                f"{did_you_mean(unknown[0], self.labels)}"
            )
        return tuple(_worded(self.owner, label, given.get(label, ())) for label in self.labels)

    def _in_order(self, weights: object) -> Any:
        """Return class weights given by class in the order of the classes."""
        if not isinstance(weights, Mapping):
            return weights
        if set(weights) != set(self.classes):
            wrong = sorted(map(str, set(weights) ^ set(self.classes)))
            raise HeadError(f"{self.owner}: class_weights must name every label; wrong or absent: {listed(wrong)}")
        return [weights[name] for name in self.classes]

    def named(self, scores: np.ndarray) -> dict[object, float]:
        """Return one row's scores (classes,) by class."""
        return dict(zip(self.classes, scores.tolist(), strict=True))

    def score_columns(self, head: str, scores: np.ndarray) -> dict[str, Column]:
        """Return one column per class of (rows, classes) scores."""
        return {f"{head}_score_{name}": scores[:, place] for place, name in enumerate(self.classes)}


def _worded(owner: str, label: object, words: object) -> tuple[str, ...]:
    several = (words,) if isinstance(words, str) else words
    good = isinstance(several, Sequence) and all(isinstance(word, str) and word.strip() for word in several)
    if not good:
        raise HeadError(f"{owner}: label_words[{label!r}] must be a word or several, got {words!r:.80}")
    return tuple(several)  # type: ignore[arg-type]
