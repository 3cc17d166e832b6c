"""Standardize features and rotate them onto their principal axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Variance along an axis, relative to the largest, below which it is rounding error.
_NO_VARIANCE = 1e-10


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature.

    Attributes:
        mean: (width,).
        deviation: (width,); 1 for a constant feature.
    """

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(features: Tensor, sample_weight: Tensor | None = None) -> Scaling:
        """Measure (rows, width) features, of rows that count with their weights (rows,) if there are any."""
        if sample_weight is None:
            deviation, mean = torch.std_mean(features, dim=0, correction=0)
            return Scaling.from_moments(mean, deviation)
        shares = (sample_weight / sample_weight.sum()).to(features.dtype)
        mean = shares @ features
        return Scaling.from_moments(mean, (shares @ (features - mean).square()).sqrt())

    @staticmethod
    def from_moments(mean: Tensor, deviation: Tensor) -> Scaling:
        """Return the scaling of these moments, with a deviation of 1 for features that vary by rounding error only.

        Rounding error is relative to the feature's mean or to the largest deviation. Scaling a dead dimension (MiniLM
        has three) to unit variance would amplify noise.
        """
        rounding = 1e-6 * (mean.abs() + deviation.max())
        return Scaling(mean, torch.where(deviation > rounding, deviation, 1.0))

    def apply(self, features: Tensor) -> Tensor:
        """Return standardized features (rows, width)."""
        return (features - self.mean) / self.deviation


@dataclass(frozen=True)
class Basis:
    """Standardized features in the coordinates of their principal axes.

    The rotation leaves the L2 penalty as it is and makes the Hessian nearly diagonal, so that scaling each coordinate
    by its own curvature cuts the steps of L-BFGS to a half or a third.

    Attributes:
        scaling: Standardizes raw features.
        axes: (width, kept) orthonormal columns. Axes without variance are left out; weights along them stay zero.
        variances: (kept,) mean squares along the axes, fp64.
    """

    scaling: Scaling
    axes: Tensor
    variances: Tensor

    @staticmethod
    def of(features: Tensor, sample_weight: Tensor | None = None) -> Basis:
        """Return the axes of (rows, width) features, computed from the smaller of the two Gram matrices.

        Args:
            features: (rows, width).
            sample_weight: Weight of each row (rows,); all count alike by default.
        """
        scaling = Scaling.of(features, sample_weight)
        standardized = scaling.apply(features)
        if sample_weight is not None:
            # Their Gram matrix is the weighted one.
            standardized *= (sample_weight / sample_weight.mean()).sqrt().to(features.dtype).unsqueeze(1)
        rows, width = standardized.shape
        if width <= rows:
            return Basis.from_gram(scaling, standardized.T @ standardized / rows)
        # Centered rows have an axis less than there are rows; rounded to fp32, their products would show one more.
        standardized = standardized.double()
        variances, weights = torch.linalg.eigh(standardized @ standardized.T / rows)
        kept = variances > _NO_VARIANCE * variances[-1]
        axes = standardized.T @ weights[:, kept] / (variances[kept] * rows).sqrt()
        return Basis(scaling, axes.to(features.dtype), variances[kept])

    @staticmethod
    def from_gram(scaling: Scaling, gram: Tensor) -> Basis:
        """Return the axes from the Gram matrix (width, width) of standardized features, divided by the rows."""
        variances, axes = torch.linalg.eigh(gram.double())
        kept = variances > _NO_VARIANCE * variances[-1]
        return Basis(scaling, axes[:, kept].to(gram.dtype), variances[kept])

    def apply(self, features: Tensor) -> Tensor:
        """Return (rows, kept) coordinates of (rows, width) raw features."""
        return self.scaling.apply(features) @ self.axes
