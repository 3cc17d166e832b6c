"""Learning rate of each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from manyheads.backbone import Backbone
from manyheads.errors import BackboneError
from manyheads.heads import Head

# With a language model, which changes with the backbone.
_CAREFUL = 2e-5
# Without one: of the top block, for the hidden size at which it was measured, and from each block to the one below it.
_RATE, _WIDTH, _DECAY = 3e-4, 384, 0.75


def default_rates(backbone: Backbone) -> tuple[float, float]:
    """Return the learning rate of a backbone that trains as a whole, and the factor from each block to the next lower.

    They are 2e-5 and 1 for a backbone with a language model, which forgets at higher rates. For others they are
    ``3e-4 * 384 / hidden size`` and 0.75, measured on MiniLM (``benchmarks/RESULTS.md``); larger models take smaller
    rates (ELECTRA, Clark et al. 2020: 3e-4, 1e-4 and 5e-5 for hidden sizes of 256, 768 and 1,024).
    """
    try:
        backbone.blocks()
    except BackboneError:
        return _CAREFUL, 1.0
    return (_CAREFUL, 1.0) if backbone.lm is not None else (_RATE * _WIDTH / backbone.facts.widths[-1], _DECAY)


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
