"""Learning rates and weight decay of each group of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from manyheads.heads import Head


def parameter_groups(rates: Mapping[nn.Parameter, float], weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's groups: one per learning rate, matrices apart from what must not decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, rate in rates.items():
        groups.setdefault((rate, weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def head_rates(heads: Mapping[str, Head], rate: float) -> dict[nn.Parameter, float]:
    """Return the heads' parameters with their learning rate."""
    return {parameter: rate for head in heads.values() for parameter in head.parameters()}


def depth_rates(blocks: Sequence[nn.Module], rate: float, decay: float) -> dict[nn.Parameter, float]:
    """Return the parameters of blocks, the lowest first, each block slower than the one above it by a factor."""
    rates: dict[nn.Parameter, float] = {}
    for depth, block in enumerate(reversed(blocks)):
        rates |= dict.fromkeys(block.parameters(), rate * decay**depth)
    return rates
