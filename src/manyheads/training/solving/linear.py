"""The weights of linear layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from manyheads.training.solving.scaling import Scaling


@dataclass(frozen=True)
class Linear:
    """One linear layer, or several of one shape.

    Attributes:
        weight: (outputs, width) or (layers, outputs, width).
        bias: (outputs,) or (layers, outputs).
    """

    weight: Tensor
    bias: Tensor

    @staticmethod
    def zeros(outputs: int, width: int, dtype: torch.dtype = torch.float32) -> Linear:
        """Return one layer of zeros."""
        return Linear(torch.zeros((outputs, width), dtype=dtype), torch.zeros(outputs, dtype=dtype))

    def __call__(self, features: Tensor) -> Tensor:
        """Return (rows, outputs) logits of (rows, width) features; for one layer only."""
        return torch.nn.functional.linear(features, self.weight, self.bias)

    def __getitem__(self, index: int) -> Linear:
        return Linear(self.weight[index], self.bias[index])

    def to(self, dtype: torch.dtype) -> Linear:
        """Return the layers in another dtype."""
        return Linear(self.weight.to(dtype), self.bias.to(dtype))

    def repeated(self, count: int) -> Linear:
        """Return ``count`` copies of one layer."""
        return Linear(self.weight.expand(count, *self.weight.shape), self.bias.expand(count, *self.bias.shape))

    def mean(self) -> Linear:
        """Return the mean of several layers."""
        return Linear(self.weight.mean(dim=0), self.bias.mean(dim=0))

    def times(self, factor: float) -> Linear:
        """Return the layers with all outputs multiplied by a factor."""
        return Linear(factor * self.weight, factor * self.bias)

    def unscaled(self, scaling: Scaling) -> Linear:
        """Return the layer for raw features with the same outputs as this one on standardized features."""
        deviation, mean = scaling.deviation.to(self.weight.dtype), scaling.mean.to(self.weight.dtype)
        weight = self.weight / deviation
        return Linear(weight, self.bias - weight @ mean)
