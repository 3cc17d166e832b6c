"""Kernels of taps on the same rows, and the products with them that sets of taps have in common.

Symbols and shapes::

    X_t    (rows, width_t)  features of tap t, standardized if they are dense
    U_t    (rows, width_t)  X_t / sqrt(width_t) of a dense tap: its kernel is U_t U_t^T, that of a sparse tap X_t X_t^T
    B      (rows, rows)     (sum of the kernels of some sparse taps + penalty * I)^-1; I / penalty without any
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import torch
from scipy.sparse import csr_array
from torch import Tensor

from manyheads.taps import BackboneTap

SparseTaps = frozenset[BackboneTap]


class Kernels:
    """Computes kernels of taps and products with them, each once. All are fp32.

    Args:
        features_of: Returns the features (rows, width) of a tap, standardized if they are dense; called once per tap.
        rows: Number of rows.
        penalty: What is added to the diagonal of each kernel that is inverted.
    """

    def __init__(self, features_of: Callable[[BackboneTap], Tensor | csr_array], rows: int, penalty: float) -> None:
        self.penalty = penalty
        self._rows = rows
        self._features_of = cache(features_of)
        self._kernels: dict[BackboneTap, Tensor] = {}
        self._inverses: dict[SparseTaps, Tensor] = {}
        self._applied: dict[tuple[SparseTaps, BackboneTap], Tensor] = {}
        self._products: dict[tuple[SparseTaps, BackboneTap, BackboneTap], Tensor] = {}

    def is_dense(self, tap: BackboneTap) -> bool:
        """Return whether a tap's features are dense."""
        return isinstance(self._features_of(tap), Tensor)

    def width(self, taps: Iterable[BackboneTap]) -> int:
        """Return the number of features of taps."""
        return sum(self._features_of(tap).shape[1] for tap in taps)

    def inverted(self, taps: Iterable[BackboneTap]) -> Tensor:
        """Return the inverse (rows, rows) of the kernel of a set of taps."""
        kernel = self.penalty * torch.eye(self._rows)
        for tap in taps:
            kernel += self._kernel(tap)
        return torch.cholesky_inverse(torch.linalg.cholesky(kernel))

    def inverse(self, sparse: SparseTaps) -> Tensor:
        """Return the inverse B (rows, rows) for sparse taps."""
        if sparse not in self._inverses:
            self._inverses[sparse] = self.inverted(sparse)
        return self._inverses[sparse]

    def applied(self, sparse: SparseTaps, tap: BackboneTap) -> Tensor:
        """Return B U_t (rows, width) of sparse taps and a dense one."""
        key = sparse, tap
        if key not in self._applied:
            features = self._unit(tap)
            self._applied[key] = self.inverse(sparse) @ features if sparse else features / self.penalty
        return self._applied[key]

    def product(self, sparse: SparseTaps, one: BackboneTap, other: BackboneTap) -> Tensor:
        """Return U_s^T B U_t (width, width) of sparse taps and two dense ones, which may be the same."""
        if (sparse, other, one) in self._products:
            return self._products[sparse, other, one].mT
        key = sparse, one, other
        if key not in self._products:
            self._products[key] = self._unit(one).mT @ self.applied(sparse, other)
        return self._products[key]

    def _kernel(self, tap: BackboneTap) -> Tensor:
        if tap not in self._kernels:
            features = self._features_of(tap)
            if isinstance(features, Tensor):
                unit = self._unit(tap)
                self._kernels[tap] = unit @ unit.mT
            else:
                self._kernels[tap] = torch.from_numpy((features @ features.T).toarray())
        return self._kernels[tap]

    def _unit(self, tap: BackboneTap) -> Tensor:
        features = self._features_of(tap)
        assert isinstance(features, Tensor)
        unit: Tensor = features / features.shape[1] ** 0.5
        return unit
