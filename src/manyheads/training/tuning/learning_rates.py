"""Learning rates of each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from manyheads.heads import Head


def head_rates(heads: Mapping[str, Head], rate: float) -> dict[nn.Parameter, float]:
    """Return the heads' parameters with their learning rate."""
    return {parameter: rate for head in heads.values() for parameter in head.parameters()}


def depth_rates(blocks: Sequence[nn.Module], rate: float, decay: float) -> dict[nn.Parameter, float]:
    """Return the parameters of blocks, the lowest first, each block slower than the one above it by a factor."""
    rates: dict[nn.Parameter, float] = {}
    for depth, block in enumerate(reversed(blocks)):
        rates |= dict.fromkeys(block.parameters(), rate * decay**depth)
    return rates
