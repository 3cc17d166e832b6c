"""Learning rate and weight decay of each group of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from manyheads.heads import Head


def parameter_groups(rates: Mapping[nn.Parameter, float], weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's groups, one per learning rate and weight decay; only matrices decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, rate in rates.items():
        groups.setdefault((rate, weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def head_rates(heads: Mapping[str, Head], rate: float) -> dict[nn.Parameter, float]:
    """Return the learning rate of every parameter of the heads."""
    return {parameter: rate for head in heads.values() for parameter in head.parameters()}


def depth_rates(blocks: Sequence[nn.Module], rate: float, decay: float) -> dict[nn.Parameter, float]:
    """Return the learning rate of every parameter of the blocks.

    Args:
        blocks: From the lowest to the highest.
        rate: Learning rate of the highest block.
        decay: Factor from each block to the one below it.
    """
    rates: dict[nn.Parameter, float] = {}
    for depth, block in enumerate(reversed(blocks)):
        rates |= dict.fromkeys(block.parameters(), rate * decay**depth)
    return rates
