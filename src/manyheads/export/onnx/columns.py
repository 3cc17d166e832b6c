"""The first layer of a head, and the columns of its weight that bags of terms are multiplied with.

Bags are computed outside the graph. A head that reads some, and vectors ``x`` of the backbone, starts with::

    weight[:, kept] @ x + bias + bag            bag = sum over its bags b of weight[:, columns of b] @ b

``bag`` is an input of the graph, and ``kept`` are the columns of no bag.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from manyheads.heads import Head
from manyheads.taps import Lexical, Tap
from manyheads.types import BackboneFacts


def dense_layers(head: Head) -> list[nn.Module]:
    """Return the layers that follow a head's readers, without dropout: linear layers and activations."""
    return [*(layer for layer in head.trunk if not isinstance(layer, nn.Dropout)), head.output]


def first_layer(head: Head) -> nn.Linear:
    """Return the linear layer that a head's input vector enters."""
    first = dense_layers(head)[0]
    assert isinstance(first, nn.Linear)
    return first


def tap_columns(head: Head, facts: BackboneFacts) -> list[tuple[Tap, slice]]:
    """Return every tap of a head with its columns in the weight of the first layer, in their order."""
    found, start = [], 0
    for tap in head.taps:
        end = start + tap.width(facts)
        found.append((tap, slice(start, end)))
        start = end
    return found


def columns(head: Head, facts: BackboneFacts) -> list[tuple[Tap, slice]]:
    """Return each bag of terms that a head reads with its columns in the weight of the first layer."""
    return [(tap, place) for tap, place in tap_columns(head, facts) if isinstance(tap, Lexical)]


def kept_columns(head: Head, facts: BackboneFacts) -> Sequence[int]:
    """Return the columns of the first layer's weight that belong to no bag of terms, ascending."""
    places = [place for tap, place in tap_columns(head, facts) if not isinstance(tap, Lexical)]
    return [column for place in places for column in range(place.start, place.stop)]
