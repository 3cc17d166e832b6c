"""How the losses of several heads are weighed against each other while they train."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from manyheads.heads import Head, Regression
from manyheads.types import HeadedOutput


class Weighting(nn.Module):
    """The plain sum: each head counts with its ``loss_weight``, which :class:`manyheads.Trainer` applies."""

    def forward(self, output: HeadedOutput) -> HeadedOutput:
        """Return the output with its losses weighed."""
        return output

    def weights(self) -> dict[str, float]:
        """Return what was learned: head name -> factor of its loss."""
        return {}


class LearnedWeighting(Weighting):
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla 2018, equations 5 and 10).

    Each head has a variance that it learns with the weights: its loss counts by one over it (half that for squared
    error), and half the variance's logarithm is added, so that it does not grow without end.

    Kurin et al. (2022) found that the plain sum, with the usual regularisation, does as well; measure before trusting
    either.

    Args:
        heads: Those that train.
    """

    def __init__(self, heads: Mapping[str, Head], device: torch.device) -> None:
        super().__init__()
        self._places = {name: place for place, name in enumerate(heads)}
        self._factors = {name: 0.5 if isinstance(head.spec, Regression) else 1.0 for name, head in heads.items()}
        # One parameter each: where a head has no label in a step, its variance gets no gradient and stays.
        self.log_variances = nn.ParameterList([nn.Parameter(torch.zeros((), device=device)) for _ in heads])

    def forward(self, output: HeadedOutput) -> HeadedOutput:
        """Return the output with its losses weighed; those of heads without a label stay outside the graph."""
        if output.losses is None:
            return output
        counts = output.counts or {}
        losses = {name: self._weighed(name, loss) if counts[name] else loss for name, loss in output.losses.items()}
        return dataclasses.replace(output, losses=losses)

    def weights(self) -> dict[str, float]:
        """Return each head's factor."""
        return {name: self._factors[name] * float(torch.exp(-self._of(name).detach())) for name in self._places}

    def _weighed(self, name: str, loss: Tensor) -> Tensor:
        variance = self._of(name)
        return self._factors[name] * torch.exp(-variance) * loss + 0.5 * variance

    def _of(self, name: str) -> nn.Parameter:
        return cast(nn.Parameter, self.log_variances[self._places[name]])
