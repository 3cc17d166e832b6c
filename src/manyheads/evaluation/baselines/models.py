"""Simple models of the words of a text, one per form of label: what a head without a Transformer reaches.

Texts are bags of words (TF-IDF with logarithmic counts, scikit-learn's ``TfidfVectorizer``), which its linear models
read. With pairs of words, logistic regression took six times as long for .004 of accuracy (Banking77, 8,000 rows).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from manyheads.evaluation.baselines.rows import TrainingRows
from manyheads.heads import HeadSpec, Ragged
from manyheads.heads.decision import DEFAULT_THRESHOLD
from manyheads.heads.kinds.shares import most_probable
from manyheads.types import MISSING

# Inverse strength of the penalty. With 10 rather than 1, TF-IDF was better on all samples of the demo.
_C = 10.0
_MOST_STEPS = 100


class BaselineModel(ABC):
    """A simple model of labels, fitted on construction.

    Args:
        spec: The head's spec.
        rows: Rows to fit on, all labelled.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    def __init__(self, spec: HeadSpec, rows: TrainingRows) -> None:
        self.spec = spec
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a solver that stops early is still a fair baseline
            self._fit(rows)

    @abstractmethod
    def _fit(self, rows: TrainingRows) -> None: ...

    @abstractmethod
    def scores(self, rows: TrainingRows) -> Any:
        """Return the scores of rows, in the form that the head's kind gives; their targets are not read."""


class BagOfWords(BaselineModel):
    """A linear model of TF-IDF."""

    name: ClassVar[str] = "tfidf"

    def _fit(self, rows: TrainingRows) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
        self._fit_vectors(self._vectorizer.fit_transform(_joined(rows.texts)), rows.targets.values)

    def scores(self, rows: TrainingRows) -> Any:
        """Return the scores of rows."""
        return self._score_vectors(self._vectorizer.transform(_joined(rows.texts)))

    @abstractmethod
    def _fit_vectors(self, vectors: Any, targets: Any) -> None: ...

    @abstractmethod
    def _score_vectors(self, vectors: Any) -> np.ndarray: ...


class OneLabelWords(BagOfWords):
    """One of several labels by logistic regression."""

    about: ClassVar[str] = "TF-IDF with logistic regression"

    def _fit_vectors(self, vectors: Any, targets: Any) -> None:
        self._model = _logistic(vectors, most_probable(targets))

    def _score_vectors(self, vectors: Any) -> np.ndarray:
        found: np.ndarray = self._model(vectors, self.spec.score_width)
        return found


class SeveralLabelsWords(BagOfWords):
    """Several labels per row by one logistic regression each."""

    about: ClassVar[str] = "TF-IDF with a logistic regression per label"

    def _fit_vectors(self, vectors: Any, targets: Any) -> None:
        self._models = [_logistic(vectors, column) for column in (targets >= DEFAULT_THRESHOLD).astype(np.int64).T]

    def _score_vectors(self, vectors: Any) -> np.ndarray:
        found = np.stack([model(vectors, 2)[:, 1] for model in self._models], axis=1)
        # Labels that only the evaluated table has.
        return np.pad(found, ((0, 0), (0, self.spec.score_width - found.shape[1])))


class NumberWords(BagOfWords):
    """A number by ridge regression."""

    about: ClassVar[str] = "TF-IDF with ridge regression"

    def _fit_vectors(self, vectors: Any, targets: Any) -> None:
        from sklearn.linear_model import Ridge

        self._model = Ridge(alpha=1.0).fit(vectors, targets.astype(np.float64))

    def _score_vectors(self, vectors: Any) -> np.ndarray:
        predicted: np.ndarray = self._model.predict(vectors)
        return predicted[:, None]


class CountWords(BagOfWords):
    """A count by Poisson regression."""

    about: ClassVar[str] = "TF-IDF with Poisson regression"

    def _fit_vectors(self, vectors: Any, targets: Any) -> None:
        from sklearn.linear_model import PoissonRegressor

        self._model = PoissonRegressor(alpha=1e-3, max_iter=_MOST_STEPS).fit(vectors, targets.astype(np.float64))

    def _score_vectors(self, vectors: Any) -> np.ndarray:
        predicted: np.ndarray = self._model.predict(vectors)
        return predicted[:, None]


class WordLabels(BaselineModel):
    """The labels of each word by itself, as often as it had them; of all words, for a word never seen."""

    name: ClassVar[str] = "words"
    about: ClassVar[str] = "the most frequent label of each word"

    def _fit(self, rows: TrainingRows) -> None:
        targets: Ragged = rows.targets.values
        width = self.spec.score_width
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        for word, label in zip(rows.all_words, targets.values.tolist(), strict=True):
            if label != MISSING:
                counts[word][label] += 1
        known = targets.values[targets.values != MISSING]
        self._usual = np.bincount(known, minlength=width) / len(known)
        self._scores = {word: self._smoothed(found) for word, found in counts.items()}

    def _smoothed(self, found: Counter[int]) -> np.ndarray:
        """Return shares of the labels of one word, to which the shares of all words are added as one occurrence."""
        counts = self._usual.copy()
        for label, count in found.items():
            counts[label] += count
        shares: np.ndarray = counts / counts.sum()
        return shares

    def scores(self, rows: TrainingRows) -> Ragged:
        """Return the shares of each word's labels."""
        values = [self._scores.get(word, self._usual) for word in rows.all_words]
        stacked = np.array(values).reshape(-1, self.spec.score_width)
        return Ragged(stacked, rows.targets.values.offsets)


# Head kind -> its simple model.
MODELS: dict[str, type[BaselineModel]] = {
    "multiclass": OneLabelWords,
    "ordinal": OneLabelWords,
    "multilabel": SeveralLabelsWords,
    "regression": NumberWords,
    "count": CountWords,
    "tokens": WordLabels,
}


def _joined(texts: Sequence[Any]) -> list[str]:
    return [text if isinstance(text, str) else " ".join(text) for text in texts]


def _logistic(vectors: Any, positions: np.ndarray) -> Any:
    """Fit logistic regression; return a function from vectors and a width to probabilities (rows, width)."""
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(positions)
    model = None
    if len(classes) > 1:
        model = LogisticRegression(C=_C, max_iter=_MOST_STEPS, tol=1e-3).fit(vectors, positions)

    def probabilities(given: Any, width: int) -> np.ndarray:
        found = np.zeros((given.shape[0], width))
        found[:, classes] = 1.0 if model is None else model.predict_proba(given)
        return found

    return probabilities
