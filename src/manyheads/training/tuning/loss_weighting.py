"""Weights of the heads' losses during training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from manyheads.core.output import HeadedOutput
from manyheads.heads import Head


class Weighting(nn.Module):
    """The plain sum: each head counts with its ``loss_weight``, which ``Trainer`` applies."""

    def forward(self, output: HeadedOutput) -> HeadedOutput:
        """Return the output with weighted losses."""
        return output

    def weights(self) -> dict[str, float]:
        """Return the learned factors: head name -> factor of its loss."""
        return {}


class LearnedWeighting(Weighting):
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla 2018, equations 5 and 10).

    Each head has a learned variance. Its loss is divided by the variance (by twice the variance for squared error), and
    half of the variance's logarithm is added, which keeps the variance bounded.

    Kurin et al. (2022) found the plain sum with the usual regularization as good; compare both.

    Args:
        heads: The heads that train.
        device: Device of the variances.
    """

    def __init__(self, heads: Mapping[str, Head], device: torch.device) -> None:
        super().__init__()
        self._positions = {name: position for position, name in enumerate(heads)}
        self._factors = {name: 0.5 if head.spec.squared_error else 1.0 for name, head in heads.items()}
        # One parameter per head: without a label of the head in a step, it gets no gradient and does not change.
        self.log_variances = nn.ParameterList([nn.Parameter(torch.zeros((), device=device)) for _ in heads])

    def forward(self, output: HeadedOutput) -> HeadedOutput:
        """Return the output with weighted losses; losses of heads without a label stay outside the graph."""
        if output.losses is None:
            return output
        counts = output.counts or {}
        losses = {name: self._weighted(name, loss) if counts[name] else loss for name, loss in output.losses.items()}
        return dataclasses.replace(output, losses=losses)

    def weights(self) -> dict[str, float]:
        """Return each head's factor."""
        return {
            name: self._factors[name] * float(torch.exp(-self._log_variance(name).detach())) for name in self._positions
        }

    def _weighted(self, name: str, loss: Tensor) -> Tensor:
        log_variance = self._log_variance(name)
        return self._factors[name] * torch.exp(-log_variance) * loss + 0.5 * log_variance

    def _log_variance(self, name: str) -> nn.Parameter:
        return cast(nn.Parameter, self.log_variances[self._positions[name]])
