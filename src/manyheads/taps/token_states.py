"""The token tap: every token's hidden state at one layer, as what runs on from there needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from manyheads.taps.base import BackboneTap, Reader
from manyheads.taps.hidden import AttentionReader
from manyheads.types import BackboneFacts, Features, Request, States


@dataclass(frozen=True)
class TokenStates(BackboneTap, for_heads=False):
    """All tokens of a layer in bf16, for a fork to be trained on; no head reads it.

    Args:
        layer: A negative index into ``hidden_states``.
    """

    kind: ClassVar[str] = "token_states"

    layer: int

    def resolve(self, facts: BackboneFacts) -> TokenStates:
        """Return itself."""
        return self

    def request(self, facts: BackboneFacts) -> Request:
        """Ask for the layer."""
        return Request(layers=frozenset({self.layer}))

    def read(self, states: States) -> Features:
        """Return (rows, tokens, width), bf16."""
        return Features(states.hidden[self.layer].to(torch.bfloat16), states.mask)

    def width(self, facts: BackboneFacts) -> int:
        """Return the layer's."""
        return facts.widths[self.layer]

    def reader(self, facts: BackboneFacts) -> Reader:
        """Return attention pooling, since there is no vector per row."""
        return AttentionReader(self.width(facts))
