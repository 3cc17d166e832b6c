"""The mean loss of each head since the last time that losses were logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class HeadLosses:
    """Sums of the heads' losses, each over the steps in which the head has labels."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def begin_step(self, weights: Mapping[str, Tensor]) -> None:
        """Count a step.

        Args:
            weights: Head name -> the total weight of its labels in the step, on all processes.
        """
        for name, weight in weights.items():
            if weight > 0:
                self._steps[name] = self._steps.get(name, 0) + 1

    def add(self, shares: Mapping[str, Tensor]) -> None:
        """Add the shares of a micro-batch in the losses of its step."""
        for name, share in shares.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(share)) + share.detach()

    def take(self, total: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return ``head.loss`` -> its mean over the steps, and start anew.

        Args:
            total: Sums a tensor over all processes.
        """
        names = sorted(name for name, steps in self._steps.items() if steps and name in self._sums)
        if not names:
            return {}
        sums = total(torch.stack([self._sums[name] for name in names])).tolist()
        means = {f"{name}.loss": value / self._steps[name] for name, value in zip(names, sums, strict=True)}
        self._sums, self._steps = {}, {}
        return means
