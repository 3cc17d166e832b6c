"""The cores that answer: a core in each precision that its heads are asked in, converted once."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import torch

from manyheads.core import HeadedCore
from manyheads.features.precision import in_precision, trained_precision
from manyheads.heads import Head


class RunningCores:
    """A core, and copies of it in other precisions, each converted on first use.

    A copy is converted anew once a weight has been replaced or changed in place, as an optimizer does.

    Args:
        core: As it was loaded.
        dtype: The precision to run in, or ``None`` for the one that each head was trained in.
    """

    def __init__(self, core: HeadedCore, dtype: torch.dtype | None = None) -> None:
        self._core = core
        self._dtype = dtype
        self._converted: dict[torch.dtype, HeadedCore] = {}
        # The parameters themselves, not their ids: a new one may get the id of one that is gone.
        self._weights: list[torch.nn.Parameter] = []
        self._versions: list[int] = []

    def groups(self, heads: Mapping[str, Head]) -> list[tuple[HeadedCore, dict[str, Head]]]:
        """Return the heads in groups that are asked in one precision, each with the core to run.

        By default that is the precision of the features that a head was trained on. The loaded precision is kept for
        heads of other methods, where ``dtype="auto"`` chose bf16 on hardware that was faster at it than this, and where
        the caller has loaded the backbone in another precision since.
        """
        by_precision: dict[torch.dtype | None, dict[str, Head]] = {}
        for name, head in heads.items():
            dtype = trained_precision(self._core, head) if self._dtype is None else self._dtype
            by_precision.setdefault(dtype, {})[name] = head
        joined: dict[int, tuple[HeadedCore, dict[str, Head]]] = {}
        for dtype, group in by_precision.items():
            running = self._running(dtype)
            joined.setdefault(id(running), (running, {}))[1].update(group)
        return list(joined.values())

    def for_features(self, heads: Mapping[str, Head]) -> HeadedCore:
        """Return the core whose features are given out: the first group's, or as loaded if there are no heads."""
        groups = self.groups(heads)
        return groups[0][0] if groups else self._running(self._dtype)

    def _running(self, dtype: torch.dtype | None) -> HeadedCore:
        if dtype is None:
            return self._core
        if self._changed():
            self._converted = {}
        if dtype not in self._converted:
            self._converted[dtype] = in_precision(self._core, dtype)
        return self._converted[dtype]

    def _changed(self) -> bool:
        """Return whether a weight was replaced or changed in place since the last call."""
        weights = list(self._core.backbone.parameters())
        versions = [0 if weight.is_inference() else weight._version for weight in weights]
        same = len(weights) == len(self._weights) and all(map(operator.is_, weights, self._weights))
        changed = not same or versions != self._versions
        self._weights, self._versions = weights, versions
        return changed
