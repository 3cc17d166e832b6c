"""Pooling: from hidden states (rows, tokens, width) to one vector per row, by mask and never by token id.

Every function takes right-padded ``hidden`` and a boolean ``mask`` (rows, tokens); a row without a real token
pools to zeros. Sums run in fp32 whatever the hidden states' dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def first_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the first real token's state, (rows, width): the CLS token of models that have one."""
    return _at(hidden, mask, mask.int().argmax(dim=1))


def last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the last real token's state, (rows, width)."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    return _at(hidden, mask, (mask * positions).argmax(dim=1))


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over real tokens, (rows, width), in fp32."""
    weights = mask.float()
    # A product with the weights would turn a non-finite padding state into NaN; filling cannot.
    total = hidden.float().masked_fill(~mask.unsqueeze(-1), 0.0).sum(dim=1)
    return total / weights.sum(dim=1, keepdim=True).clamp(min=1.0)


def maximum(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the largest value of each feature over real tokens, (rows, width)."""
    lowest = torch.finfo(hidden.dtype).min
    largest = hidden.masked_fill(~mask.unsqueeze(-1), lowest).amax(dim=1)
    return largest.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": first_token,
    "mean": mean,
    "max": maximum,
    "last": last_token,
}


class AttentionPooling(nn.Module):
    """A learned weighted mean over tokens: softmax of one linear score per token (Yang et al. 2016, eq. 5-7,
    without the extra projection)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        # Equal scores at the start: the pooling begins as the masked mean.
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted mean, (rows, width); zeros for a row without a real token."""
        scores = self.score(hidden).squeeze(-1).masked_fill(~mask, torch.finfo(hidden.dtype).min)
        weights = torch.softmax(scores, dim=1).masked_fill(~mask, 0.0)
        return torch.einsum("rt,rtw->rw", weights, hidden.masked_fill(~mask.unsqueeze(-1), 0.0))


class ScalarMix(nn.Module):
    """A learned convex mix of layers with one scale (Peters et al. 2018, eq. 1)."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, hidden: Tensor) -> Tensor:
        """Mix (rows, layers, width) into (rows, width)."""
        return self.scale * torch.einsum("l,rlw->rw", torch.softmax(self.weights, dim=0), hidden)


def _at(hidden: Tensor, mask: Tensor, index: Tensor) -> Tensor:
    picked = hidden[torch.arange(hidden.shape[0], device=hidden.device), index]
    return picked.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)
