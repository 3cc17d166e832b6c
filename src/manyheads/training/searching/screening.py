"""Screen sets of taps by ridge regression: the error of each row predicted from all others, in closed form, or of each
word predicted from other texts.

Symbols and shapes::

    K_t    (rows, rows)      kernel of tap t, X_t X_t^T / width of its standardized features X_t (rows, width)
    K      (rows, rows)      kernel of a set of taps, the mean of its taps' kernels
    A      (rows, rows)      (K + l2 * rows * I)^-1
    Y      (rows, scores)    target scores, centered and scaled to a mean squared distance of one
    E      (rows, scores)    leave-one-out residuals

The residual of row i, predicted by the fit without row i (Rasmussen and Williams 2006, eq. 5.12)::

    E[i] = (A Y)[i] / A[i, i]

Kernels add up, so any set of taps costs one inverse once its taps' kernels are known.
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
from torch import Tensor
from torch.nn.functional import cross_entropy

from manyheads.runtime.threads import threads, threads_of_factorizations
from manyheads.taps import BackboneTap
from manyheads.training.searching.comparison import spread
from manyheads.training.solving.scaling import Scaling

# L2, relative to a kernel with a mean diagonal of about one. Close to the best value in all experiments; the ranking
# hardly depends on it.
PENALTY = 1e-3
# Logarithms of the smallest and the largest factor of predictions as logits.
_EXPONENTS = (-3.0, 8.0)
# Folds of texts for words.
_FOLDS = 5


def dense_kernel(features: Tensor) -> Tensor:
    """Return the kernel (rows, rows) of (rows, width) features, with a mean diagonal of about one."""
    standardized = Scaling.of(features).apply(features)
    return standardized @ standardized.T / features.shape[1]


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


class KernelScreening(Screening):
    """Screens by the exact leave-one-out residuals of kernel ridge regression.

    Args:
        kernel_of: Returns the kernel (rows, rows) of a tap; called once per tap.
        target_scores: Per head (rows, scores), NaN where missing.
        as_classes: See ``Screening``.
    """

    def __init__(
        self,
        kernel_of: Callable[[BackboneTap], Tensor],
        target_scores: Sequence[np.ndarray],
        as_classes: Sequence[bool] = (),
    ) -> None:
        super().__init__(target_scores, as_classes)
        self._kernel_of = cache(kernel_of)

    def _residuals(self, taps: Sequence[BackboneTap]) -> Tensor:
        kernel = torch.stack([self._kernel_of(tap) for tap in taps]).mean(dim=0)
        rows = len(kernel)
        regularized = kernel + PENALTY * rows * torch.eye(rows)
        with threads(threads_of_factorizations()):
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(regularized))
        return (inverse @ self._centered) / inverse.diagonal().unsqueeze(1)


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
        # Scaled so that the product with itself is the mean of the taps' kernels.
        parts = [self._features_of(tap) for tap in taps]
        features = torch.cat([part / (len(taps) * part.shape[1]) ** 0.5 for part in parts], dim=1)
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
    frequencies = shares.double().mean(dim=0)
    entropy = float(-torch.xlogy(frequencies, frequencies).sum()) or 1.0
    return losses(found.x) / entropy


def scaled(target_scores: np.ndarray) -> np.ndarray:
    """Return target scores (rows, scores) in fp32, scaled to a mean squared distance of one from their mean row."""
    exact = target_scores.astype(np.float64)
    unit: np.ndarray = (exact / spread(exact) ** 0.5).astype(np.float32)
    return unit
