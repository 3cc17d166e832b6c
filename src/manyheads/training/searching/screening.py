"""Screen sets of taps by ridge regression: the error of each row predicted from all others, in closed form, or of each
word predicted from other texts.

Symbols and shapes; ``U_t`` and ``B`` are those of ``kernels.py``::

    K      (rows, rows)     kernel of a set of taps, the sum of its taps' kernels: each feature is regularized alike in
                            every set
    A      (rows, rows)     (K + l2 * rows * I)^-1
    Y      (rows, scores)   target scores, centered and scaled to a mean squared distance of one
    E      (rows, scores)   leave-one-out residuals

The residual of row i, predicted by the fit without row i (Rasmussen and Williams 2006, eq. 5.12)::

    E[i] = (A Y)[i] / A[i, i]

Where the dense taps have fewer features than there are rows, A follows from the inverse B for the sparse taps alone
(Woodbury's identity), which sets share with most products with it::

    U      (rows, width)    U_t of all dense taps side by side, such that U U^T is their part of K
    C      (width, width)   Cholesky factor: C C^T = I + U^T B U
    W      (rows, width)    B U C^-T
    A                       B - W W^T
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import cross_entropy

from manyheads.runtime.threads import threads, threads_of_factorizations
from manyheads.taps import BackboneTap
from manyheads.training.searching.comparison import entropy, spread
from manyheads.training.searching.kernels import Kernels, SparseTaps

# L2, relative to the kernel of one tap, whose mean diagonal is about one. Half of it chooses worse sets on 2,000 rows,
# 1.5 times as much on 5 rows per label (``benchmarks/RESULTS.md``).
PENALTY = 2e-3
# Logarithms of the smallest and the largest factor of predictions as logits.
_EXPONENTS = (-3.0, 8.0)
# Folds of texts for words.
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class ScreenedTaps:
    """The errors of one head on one set of taps.

    Attributes:
        taps: The set.
        errors: (texts,) squared residuals, summed over the scores, as a share of the variance; for a head with classes,
            log losses of the predictions, scaled as logits to the least mean, as a share of the classes' entropy.
    """

    taps: tuple[BackboneTap, ...]
    errors: np.ndarray

    @property
    def loss(self) -> float:
        """The mean error."""
        return float(self.errors.mean())


class Screening(ABC):
    """Computes the errors of sets of taps, for heads that are labelled on the same items.

    Args:
        target_scores: Per head (items, scores), NaN where missing.
        as_classes: Per head whether each item has one class, so that the error is a log loss.
    """

    def __init__(self, target_scores: Sequence[np.ndarray], as_classes: Sequence[bool] = ()) -> None:
        given = as_classes or [False] * len(target_scores)
        self._shares = [
            torch.from_numpy(scores) if one_class else None
            for scores, one_class in zip(target_scores, given, strict=True)
        ]
        self._errors: dict[frozenset[BackboneTap], np.ndarray] = {}
        self._score_counts = [scores.shape[1] for scores in target_scores]
        joined = torch.from_numpy(np.concatenate([scaled(scores) for scores in target_scores], axis=1))
        self._missing = torch.isnan(joined)
        self._centered = torch.where(self._missing, 0.0, joined - joined.nanmean(dim=0))

    def errors(self, taps: Iterable[BackboneTap]) -> np.ndarray:
        """Return the errors of every head on a set of taps, (heads, texts); see ``ScreenedTaps``."""
        taps = list(taps)
        key = frozenset(taps)
        if key not in self._errors:
            residuals = self._residuals(taps)
            heads = zip(
                self._of_each(residuals),
                self._of_each(self._centered),
                self._of_each(self._missing),
                self._shares,
                strict=True,
            )
            errors = [
                _squares(part, missing) if shares is None else _log_losses(centered - part, shares)
                for part, centered, missing, shares in heads
            ]
            self._errors[key] = self._by_text(torch.stack(errors).numpy())
        return self._errors[key]

    def of_head(self, number: int) -> HeadScreening:
        """Return the screening of one head, numbered in the order of the target scores."""
        return HeadScreening(self, number)

    @abstractmethod
    def _residuals(self, taps: Sequence[BackboneTap]) -> Tensor:
        """Return the differences between the centered target scores and predictions without each item's own label,
        (items, scores).
        """

    def _of_each(self, joined: Tensor) -> Sequence[Tensor]:
        """Return the columns of each head."""
        return torch.split(joined, self._score_counts, dim=1)

    def _by_text(self, errors: np.ndarray) -> np.ndarray:
        """Return the errors of texts (heads, texts) from those of items (heads, items)."""
        return errors


class LeaveOneOutScreening(Screening):
    """Screens by the exact leave-one-out residuals of ridge regression; formulas are at the top of this file.

    Args:
        features_of: Returns the features (rows, width) of a tap, standardized if they are dense; called once per tap.
        target_scores: Per head (rows, scores), NaN where missing.
        as_classes: See ``Screening``.
    """

    def __init__(
        self,
        features_of: Callable[[BackboneTap], Tensor | csr_array],
        target_scores: Sequence[np.ndarray],
        as_classes: Sequence[bool] = (),
    ) -> None:
        super().__init__(target_scores, as_classes)
        rows = len(self._centered)
        self._kernels = Kernels(features_of, rows, PENALTY * rows)

    def _residuals(self, taps: Sequence[BackboneTap]) -> Tensor:
        dense = [tap for tap in taps if self._kernels.is_dense(tap)]
        sparse = frozenset(taps).difference(dense)
        with threads(threads_of_factorizations()):
            if dense and self._kernels.width(dense) < len(self._centered):
                return self._updated(dense, sparse)
            inverse = self._kernels.inverted(taps) if dense else self._kernels.inverse(sparse)
            return inverse @ self._centered / inverse.diagonal().unsqueeze(1)

    def _updated(self, dense: Sequence[BackboneTap], sparse: SparseTaps) -> Tensor:
        """Return the residuals of dense taps beside sparse ones, which have the inverse B."""
        kernels = self._kernels
        gram = torch.cat([torch.cat([kernels.product(sparse, one, other) for other in dense], dim=1) for one in dense])
        gram.diagonal().add_(1.0)
        applied = torch.cat([kernels.applied(sparse, tap) for tap in dense], dim=1)
        upper = torch.linalg.cholesky(gram).mT
        root = torch.linalg.solve_triangular(upper, applied, upper=True, left=False)  # W
        if sparse:
            inverse = kernels.inverse(sparse)
            fitted, diagonal = inverse @ self._centered, inverse.diagonal()
        else:
            fitted = self._centered / kernels.penalty
            diagonal = torch.tensor(1 / kernels.penalty)
        left = diagonal - root.square().sum(dim=1)
        residuals: Tensor = (fitted - root @ (root.mT @ self._centered)) / left.unsqueeze(1)
        return residuals


class FoldScreening(Screening):
    """Screens words by ridge regression on folds of texts: a word's neighbors would reveal its label.

    Args:
        features_of: Returns the features (words, width) of a tap; called once per tap.
        target_scores: Per head (words, scores), NaN where missing.
        text_of: Number of each word's text (words,), from 0.
        as_classes: See ``Screening``.
    """

    def __init__(
        self,
        features_of: Callable[[BackboneTap], Tensor],
        target_scores: Sequence[np.ndarray],
        text_of: np.ndarray,
        as_classes: Sequence[bool] = (),
    ) -> None:
        super().__init__(target_scores, as_classes)
        self._features_of = cache(features_of)
        self._text_of = text_of

    def _residuals(self, taps: Sequence[BackboneTap]) -> Tensor:
        parts = [self._features_of(tap) for tap in taps]
        features = torch.cat([part / part.shape[1] ** 0.5 for part in parts], dim=1)
        gram, moments = features.T @ features, features.T @ self._centered
        penalty = PENALTY * len(features) * torch.eye(features.shape[1])
        residuals = torch.empty_like(self._centered)
        for fold in range(_FOLDS):
            held_out = torch.from_numpy(self._text_of % _FOLDS == fold)
            own, targets = features[held_out], self._centered[held_out]
            with threads(threads_of_factorizations()):
                factor = torch.linalg.cholesky(gram - own.T @ own + penalty)
                weights = torch.cholesky_solve(moments - own.T @ targets, factor)
            residuals[held_out] = targets - own @ weights
        return residuals

    def _by_text(self, errors: np.ndarray) -> np.ndarray:
        """Return the sum over each text's words, as a share of the mean number of words."""
        texts = int(self._text_of.max()) + 1
        sums = np.stack([np.bincount(self._text_of, weights=head, minlength=texts) for head in errors])
        found: np.ndarray = sums * texts / len(self._text_of)
        return found


@dataclass(frozen=True, eq=False)
class HeadScreening:
    """One head's share of a screening.

    Attributes:
        screening: For all heads that are labelled on the same rows.
        number: The head's number among them.
    """

    screening: Screening
    number: int

    def screen(self, taps: Iterable[BackboneTap]) -> ScreenedTaps:
        """Return the head's errors on a set of taps."""
        taps = tuple(taps)
        return ScreenedTaps(taps, self.screening.errors(taps)[self.number])

    def ranked(self, taps: Iterable[BackboneTap]) -> list[ScreenedTaps]:
        """Return single taps, the one with the least loss first."""
        return sorted((self.screen([tap]) for tap in taps), key=lambda single: single.loss)


def _squares(residuals: Tensor, missing: Tensor) -> Tensor:
    """Return the squared residuals of each item (items,), summed over the scores."""
    return residuals.square().masked_fill(missing, 0.0).sum(dim=1)


def _log_losses(predictions: Tensor, shares: Tensor) -> Tensor:
    """Return the expected log loss of each item (items,), as a share of the entropy of the classes.

    Squared errors of many classes with few rows measure how far predictions are shrunk, more than how well they order
    the classes. Logits in proportion to the predictions, with the best factor, measure the order alone.

    Args:
        predictions: (items, classes).
        shares: The share of each class in each item (items, classes): one and zeros, or the annotators' votes.
    """

    def losses(exponent: float) -> Tensor:
        return cross_entropy(math.exp(exponent) * predictions, shares, reduction="none")

    found = minimize_scalar(
        lambda exponent: float(losses(exponent).mean()), bounds=_EXPONENTS, method="bounded", options={"xatol": 0.02}
    )
    return losses(found.x) / entropy(shares.numpy())


def scaled(target_scores: np.ndarray) -> np.ndarray:
    """Return target scores (rows, scores) in fp32, scaled to a mean squared distance of one from their mean row."""
    exact = target_scores.astype(np.float64)
    unit: np.ndarray = (exact / spread(exact) ** 0.5).astype(np.float32)
    return unit
