"""Learning rate of each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from manyheads.heads import Head


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
