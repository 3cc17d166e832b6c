"""Judge many ways of reading texts cheaply: ridge regression, each row predicted by all the others, in closed form.

With a kernel ``K`` (rows, rows) and ``A = (K + l2 n I)^-1``, the error of row i when it is left out is
``(A y)_i / A_ii`` (Rasmussen and Williams 2006, eq. 5.12). Kernels of taps simply add up, so that any set of taps costs
one inverse once each tap's kernel is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.taps import Tap
from manyheads.training.solving.scaling import Scaling

# Relative to the kernel's mean diagonal: near the best wherever it was tried, and ranks hardly depend on it.
PENALTY = 1e-3
# A share of the variance too small to be worth another tap, however sure.
NEGLIGIBLE = 0.005


def dense_kernel(features: Tensor) -> Tensor:
    """Return the products of standardised features (rows, width), with a mean diagonal of about one."""
    standard = Scaling.of(features).apply(features)
    return standard @ standard.T / features.shape[1]


@dataclass(frozen=True, eq=False)
class Screened:
    """How one set of taps did.

    Attributes:
        taps: The set.
        errors: (heads, rows) squared error of each row by the others, summed over a head's scores, as a share of what
            knowing no text would leave on average.
    """

    taps: tuple[Tap, ...]
    errors: np.ndarray

    def loss(self, head: int) -> float:
        """Return a head's mean error."""
        return float(self.errors[head].mean())


class Screening:
    """Judges sets of taps on the same rows, for heads that are all labelled there.

    Args:
        taps: The single taps that sets may be made of.
        kernel_of: Returns a tap's kernel over the rows; asked for once per tap.
        numbers: Per head, targets as numbers (rows, scores), NaN where missing.
    """

    def __init__(self, taps: Sequence[Tap], kernel_of: Callable[[Tap], Tensor], numbers: Sequence[np.ndarray]) -> None:
        self._taps = taps
        self._kernel_of = kernel_of
        self._kernels: dict[Tap, Tensor] = {}
        self._splits = [part.shape[1] for part in numbers]
        joined = torch.from_numpy(np.concatenate([scaled(part) for part in numbers], axis=1))
        self._missing = torch.isnan(joined)
        self._centred = torch.where(self._missing, 0.0, joined - joined.nanmean(dim=0))
        self._seen: dict[frozenset[Tap], np.ndarray] = {}

    def judge(self, taps: Sequence[Tap]) -> Screened:
        """Return how a set of taps does, for every head."""
        key = frozenset(taps)
        if key not in self._seen:
            kernel = torch.stack([self._kernel(tap) for tap in taps]).mean(dim=0)
            self._seen[key] = self._left_out(kernel)
        return Screened(tuple(taps), self._seen[key])

    def ranked(self, head: int) -> list[Screened]:
        """Return every single tap, the best for a head first."""
        return sorted((self.judge([tap]) for tap in self._taps), key=lambda one: one.loss(head))

    def _kernel(self, tap: Tap) -> Tensor:
        if tap not in self._kernels:
            self._kernels[tap] = self._kernel_of(tap)
        return self._kernels[tap]

    def _left_out(self, kernel: Tensor) -> np.ndarray:
        rows = len(kernel)
        ridged = kernel + PENALTY * rows * torch.eye(rows)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(ridged))
        residuals = (inverse @ self._centred) / inverse.diagonal().unsqueeze(1)
        squared = residuals.square().masked_fill(self._missing, 0.0)
        return torch.stack([part.sum(dim=1) for part in torch.split(squared, self._splits, dim=1)]).numpy()


def scaled(numbers: np.ndarray) -> np.ndarray:
    """Return fp32 numbers (rows, scores) at a scale at which their mean squared distance from the mean row is one."""
    exact = numbers.astype(np.float64)
    brought: np.ndarray = (exact / spread(exact) ** 0.5).astype(np.float32)
    return brought


def spread(numbers: np.ndarray) -> float:
    """Return the mean squared distance of fp64 numbers (rows, scores) from their mean row; 1 where there is none."""
    return float(np.nansum((numbers - np.nanmean(numbers, axis=0)) ** 2)) / len(numbers) or 1.0


def margin(errors: np.ndarray, best: np.ndarray) -> tuple[float, float]:
    """Return by how much errors (rows,) exceed the best ones on average, and that difference's standard error."""
    apart = errors - best
    return float(apart.mean()), float(apart.std() / np.sqrt(len(apart)))


def simplest_near_best(errors: Sequence[np.ndarray]) -> int:
    """Return the place of the first choice that is within one standard error of the best (Breiman et al. 1984, 3.4.3),
    or negligibly worse.

    Args:
        errors: Per choice, errors of the same rows (rows,); the simplest choice first.
    """
    best = min(errors, key=lambda one: float(one.mean()))
    near = [apart <= max(error, NEGLIGIBLE) for apart, error in (margin(one, best) for one in errors)]
    return near.index(True)
