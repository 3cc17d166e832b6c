"""Measures of heads that label words: words, and whole entities."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from manyheads.evaluation.kinds.base import LEAST, LabelMetrics, Measures, Statements
from manyheads.evaluation.kinds.labels import label_metrics, one_label_metrics
from manyheads.evaluation.row_sums import RowSums, Sums, ratio
from manyheads.evaluation.scored_rows import ScoredRows
from manyheads.heads import Ragged, Tokens
from manyheads.heads.cells.entities import entities
from manyheads.heads.ragged import offsets_of
from manyheads.types import MISSING


class TokenMeasures(Measures):
    """Measures of one label per word. Words without a label are no words, as in seqeval's users' scripts."""

    def __init__(self, rows: ScoredRows) -> None:
        super().__init__(rows)
        assert isinstance(rows.spec, Tokens)
        self.classes = rows.spec.classes
        predicted = rows.spec.predicted_classes(rows.logits)
        targets: Ragged = rows.targets
        labelled = targets.values != MISSING
        self.words_of, self.count = targets.rows[labelled], len(targets)
        self.true, self.predicted = targets.values[labelled], predicted.values[labelled]
        self.scores = rows.padded(rows.scores.values[labelled])

    @property
    def right(self) -> np.ndarray:
        """(rows,) booleans: whether all labelled words of a text are right."""
        wrong = self.words_of[self.true != self.predicted]
        right: np.ndarray = np.bincount(wrong, minlength=self.count) == 0
        return right

    @property
    def mistake_scores(self) -> np.ndarray:
        """(rows,) the smallest probability of a most probable label in a text."""
        found = np.ones(self.count)
        np.minimum.at(found, self.words_of, self.scores.max(axis=1).astype(np.float64))
        return found

    def described(self, row: int) -> tuple[Any, Any]:
        """Return the labels and the predicted labels of a text's words."""
        words = slice(*np.searchsorted(self.words_of, [row, row + 1]))
        true, predicted = (
            tuple(self.classes[place] for place in cells[words].tolist()) for cells in (self.true, self.predicted)
        )
        return true, predicted

    def statements(self) -> Statements:
        """Return the probability of each word's predicted label."""
        chosen = np.take_along_axis(self.scores, self.predicted[:, None], axis=1)[:, 0]
        return Statements("words", chosen.astype(np.float64), self.true == self.predicted)

    def _of_texts(self, items: np.ndarray, rows: np.ndarray, width: int) -> Any:
        """Return how many items of each class every text has, sparse (rows, width)."""
        return sparse.csr_matrix((np.ones(len(items)), (rows, items)), (self.count, width))

    def _counts(self) -> dict[str, Any]:
        """Return counts of words by class, of true ones, predicted ones and those that are both."""
        hit = self.true == self.predicted
        rows, width = self.words_of, len(self.classes)
        return {
            "true": self._of_texts(self.true, rows, width),
            "predicted": self._of_texts(self.predicted, rows, width),
            "hit": self._of_texts(self.true[hit], rows[hit], width),
        }

    def _log_losses(self) -> np.ndarray:
        """Return the summed log loss of each text's words, and the number of words whose label the head has."""
        known = self.true < len(self.classes) - self.rows.further
        chosen = np.take_along_axis(self.scores.astype(np.float64), self.true[:, None], axis=1)[:, 0]
        losses = -np.log(np.clip(chosen, LEAST, 1.0)) * known
        parts = [np.bincount(self.words_of, part, minlength=self.count) for part in (losses, known)]
        return np.stack(parts, axis=1)


class WordMeasures(TokenMeasures):
    """Measures of one independent label per word."""

    short: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    slice_metric: ClassVar[str] = "accuracy"

    @cached_property
    def sums(self) -> RowSums:
        """Counts of each label's words, and log loss."""
        return RowSums(self._counts() | {"log_loss": self._log_losses()})

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return the metrics of words."""
        losses = sums["log_loss"]
        return one_label_metrics(sums) | {"log_loss": ratio(losses[:, 0], losses[:, 1], np.nan)}

    def by_label(self) -> Sequence[LabelMetrics]:
        """Return metrics of each label's words."""
        return label_metrics(self.sums.total(), self.classes, ())

    def confusion(self) -> np.ndarray:
        """Return counts of words (true label, predicted label)."""
        width = len(self.classes)
        return np.bincount(self.true * width + self.predicted, minlength=width**2).reshape(width, width)


class EntityMeasures(TokenMeasures):
    """Measures of whole entities, right where first word, last word and type are (seqeval's default mode, Nakayama
    2018, micro-averaged), of entities that are found in part, and of words.
    """

    short: ClassVar[tuple[str, ...]] = ("entity_f1", "entity_precision", "entity_recall", "accuracy")
    slice_metric: ClassVar[str] = "entity_f1"

    @cached_property
    def sums(self) -> RowSums:
        """Counts of each type's entities, of right words and words, and log loss."""
        correct = self.true == self.predicted
        words = [np.bincount(self.words_of, part, minlength=self.count) for part in (correct, np.ones_like(correct))]
        offsets = offsets_of(np.bincount(self.words_of, minlength=self.count))
        counts = entity_counts(Ragged(self.true, offsets), Ragged(self.predicted, offsets), len(self._types))
        return RowSums(counts | {"words": np.stack(words, axis=1), "log_loss": self._log_losses()})

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return the metrics of entities, and the accuracy and log loss of words."""
        (correct, words), losses = sums["words"].T, sums["log_loss"]
        return entity_metrics(sums) | {
            "accuracy": ratio(correct, words, np.nan),
            "log_loss": ratio(losses[:, 0], losses[:, 1], np.nan),
        }

    def by_label(self) -> Sequence[LabelMetrics]:
        """Return metrics of each entity type."""
        return label_metrics(self.sums.total(), self._types, ())

    @property
    def _types(self) -> tuple[object, ...]:
        assert isinstance(self.rows.spec, Tokens)
        return tuple(self.rows.spec.labels)


def entity_counts(true: Ragged, predicted: Ragged, types: int) -> dict[str, Any]:
    """Return how many entities of each type every text has (rows, types): true ones, predicted ones, and those that are
    both, with the same first word, last word and type. ``"overlap"`` (rows,) are pairs of a true one and a predicted
    one of its type that have a word in common; each entity is in one pair at most.

    Args:
        true: BIO tags (words,) of each text.
        predicted: The predicted tags.
        types: Number of entity types.
    """
    found = [[entities(tags) for tags in rows] for rows in (true, predicted)]
    sets = [_entity_set(rows) for rows in found]
    counted = dict(zip(("true", "predicted", "hit"), (*sets, sets[0] & sets[1]), strict=True))
    overlaps = np.array([_overlapping(*pair) for pair in zip(*found, strict=True)], dtype=np.int64)
    return {name: _counted(entities_of, len(true), types) for name, entities_of in counted.items()} | {
        "overlap": overlaps
    }


def entity_metrics(sums: Sums) -> dict[str, np.ndarray]:
    """Return F1, precision and recall (draws,) of the entities of all types together, 0 where undefined."""
    true, predicted, hit = (sums[name].sum(axis=1) for name in ("true", "predicted", "hit"))
    return {
        "entity_f1": ratio(2 * hit, true + predicted),
        "entity_precision": ratio(hit, predicted),
        "entity_recall": ratio(hit, true),
        "entity_overlap_f1": ratio(2 * sums["overlap"][:, 0], true + predicted),
    }


def _entity_set(rows: Sequence[np.ndarray]) -> set[tuple[int, ...]]:
    """Return the entities of all texts: text, first word, word after the last, type."""
    return {(row, *entity) for row, found in enumerate(rows) for entity in found.tolist()}


def _overlapping(true: np.ndarray, predicted: np.ndarray) -> int:
    """Return the most pairs of a true and a predicted entity of one text that have their type and a word in common.

    Entities of one text do not overlap, so that pairing them in order leaves none out.

    Args:
        true: (entities, 3) first word, word after the last, type; from left to right.
        predicted: The predicted entities, likewise.
    """
    pairs = 0
    for kind in np.intersect1d(true[:, 2], predicted[:, 2]):
        own, others = (part[part[:, 2] == kind, :2].tolist() for part in (true, predicted))
        while own and others:
            (start, end), (other_start, other_end) = own[-1], others[-1]
            if start < other_end and other_start < end:
                pairs += 1
                own.pop()
                others.pop()
            else:  # the one further right overlaps none of those that are left
                (own if start >= other_end else others).pop()
    return pairs


def _counted(found: set[tuple[int, ...]], rows: int, types: int) -> Any:
    """Return the number of entities of each text and type, sparse (rows, types)."""
    places = np.array([(row, kind) for row, _, _, kind in found], dtype=np.int64).reshape(-1, 2)
    return sparse.csr_matrix((np.ones(len(places)), (places[:, 0], places[:, 1])), (rows, types))


def token_measures(rows: ScoredRows) -> TokenMeasures:
    """Return the measures of entities or of words."""
    assert isinstance(rows.spec, Tokens)
    return EntityMeasures(rows) if rows.spec.scheme == "BIO" else WordMeasures(rows)
