"""The weights of the best epoch so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class BestWeights:
    """Keeps a copy of parameters at the epoch with the best score, to stop early and to restore them.

    Args:
        parameters: Everything that trains.

    Attributes:
        epoch: Number of the best epoch, 0 before the first one.
        score: Its score; higher is better.
        weights: Copies of the parameters after it, or ``None`` before the first one.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.epoch = 0
        self.score = float("-inf")
        self.weights: list[Tensor] | None = None
        self._parameters = list(parameters)

    def update(self, epoch: int, score: float) -> bool:
        """Keep the parameters if this is the first epoch or a better one; return whether they were kept."""
        if self.weights is not None and not score > self.score:
            return False
        self.epoch, self.score = epoch, score
        self.weights = [parameter.detach().clone() for parameter in self._parameters]
        return True

    def tensors(self) -> dict[str, Tensor]:
        """Return the best weights by name, for a file."""
        return {f"weight.{number}": tensor.contiguous() for number, tensor in enumerate(self.weights or ())}

    def load(self, epoch: int, score: float, tensors: Mapping[str, Tensor]) -> None:
        """Set the best epoch from saved values, its weights from ``tensors``."""
        self.epoch, self.score = epoch, score
        self.weights = [
            tensors[f"weight.{number}"].to(parameter.device) for number, parameter in enumerate(self._parameters)
        ]

    def is_stale(self, epoch: int, patience: int) -> bool:
        """Return whether ``patience`` epochs have passed since the best one."""
        return epoch - self.epoch >= patience

    @torch.no_grad()
    def restore(self) -> None:
        """Copy the best weights into the parameters."""
        assert self.weights is not None, "no epoch was kept"
        for parameter, value in zip(self._parameters, self.weights, strict=True):
            parameter.copy_(value)
