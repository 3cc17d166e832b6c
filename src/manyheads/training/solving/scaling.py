"""Standardise features, and turn them along their principal axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Variance along an axis, relative to the largest, below which it is rounding.
_NO_VARIANCE = 1e-10


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature, (width,); a constant feature keeps 1."""

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(features: Tensor) -> Scaling:
        """Measure (rows, width) features."""
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        return Scaling.from_moments(mean, deviation)

    @staticmethod
    def from_moments(mean: Tensor, deviation: Tensor) -> Scaling:
        """Leave features alone that vary by rounding only, beside their mean or beside the feature that varies most: a
        dead dimension (MiniLM has three) brought to a deviation of one would be noise made large."""
        rounding = 1e-6 * (mean.abs() + deviation.max())
        return Scaling(mean, torch.where(deviation > rounding, deviation, 1.0))

    def apply(self, features: Tensor) -> Tensor:
        """Return standardised features."""
        return (features - self.mean) / self.deviation


@dataclass(frozen=True)
class Basis:
    """Standardised features along their principal axes: the same problem, turned, so that each axis has a curvature
    of its own and L-BFGS needs a half to a third of the steps. Turning leaves the penalty as it is.

    Attributes:
        scaling: From features as they are to standardised ones.
        axes: (width, kept) orthonormal columns; axes along which nothing varies are left out, where weights stay zero.
        variances: (kept,) mean squares along them, fp64.
    """

    scaling: Scaling
    axes: Tensor
    variances: Tensor

    @staticmethod
    def of(features: Tensor) -> Basis:
        """Find the axes of (rows, width) features, from whichever of the two Gram matrices is smaller."""
        scaling = Scaling.of(features)
        standard = scaling.apply(features)
        rows, width = standard.shape
        if width <= rows:
            return Basis.from_gram(scaling, standard.T @ standard / rows)
        variances, weights = torch.linalg.eigh((standard @ standard.T).double() / rows)
        kept = variances > _NO_VARIANCE * variances[-1]
        axes = standard.T.double() @ weights[:, kept] / (variances[kept] * rows).sqrt()
        return Basis(scaling, axes.to(features.dtype), variances[kept])

    @staticmethod
    def from_gram(scaling: Scaling, gram: Tensor) -> Basis:
        """Find the axes from the (width, width) mean product of standardised features."""
        variances, axes = torch.linalg.eigh(gram.double())
        kept = variances > _NO_VARIANCE * variances[-1]
        return Basis(scaling, axes[:, kept].to(gram.dtype), variances[kept])

    def apply(self, features: Tensor) -> Tensor:
        """Return (rows, kept) features along the axes."""
        return self.scaling.apply(features) @ self.axes
