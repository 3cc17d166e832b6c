"""The word tap: one vector per word of a text, from one layer of the backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from manyheads.errors import HeadError, did_you_mean, listed
from manyheads.taps.base import BackboneTap, Reader
from manyheads.taps.hidden import Hidden
from manyheads.types import BackboneFacts, Features, Request, States, WordIds

SUBWORDS = ("first", "mean")


@dataclass(frozen=True)
class Words(BackboneTap):
    """Read one vector per word. Token heads create these taps from their ``reads``.

    Args:
        layer: An index into transformers' ``hidden_states``, as of ``taps.hidden.Hidden``.
        subword: A word's vector is the state of its ``"first"`` token, or the ``"mean"`` of its tokens' states.

    Raises:
        HeadError: a layer or a policy that is none of these.
    """

    kind: ClassVar[str] = "words"

    layer: int = -1
    subword: str = "first"

    def __post_init__(self) -> None:
        if not isinstance(self.layer, int) or isinstance(self.layer, bool):
            raise HeadError(f"Words: layer must be an integer, got {self.layer!r}; name one layer, or several taps")
        check_subword("Words", self.subword)

    @property
    def by_word(self) -> bool:
        """True."""
        return True

    def resolve(self, facts: BackboneFacts) -> Words:
        """Count the layer from the end, and check that the backbone has it."""
        resolved = Hidden(self.layer, pool="mean").resolve(facts)
        assert isinstance(resolved, Hidden)
        assert isinstance(resolved.layer, int)
        return replace(self, layer=resolved.layer)

    def request(self, facts: BackboneFacts) -> Request:
        """Ask for the layer."""
        return Request(layers=frozenset({self.layer}))

    def read(self, states: States) -> Features:
        """Return (rows, words, width) and the mask (rows, words) of the words that have a token."""
        assert states.words is not None
        return _READ[self.subword](states.hidden[self.layer], states.words)

    def width(self, facts: BackboneFacts) -> int:
        """Return the hidden size."""
        return facts.widths[self.layer]

    def reader(self, facts: BackboneFacts) -> Reader:
        """Return the one that passes vectors on."""
        return Reader()


def check_subword(owner: str, subword: object) -> None:
    """Check that a policy exists.

    Raises:
        HeadError: an unknown policy.
    """
    if subword not in SUBWORDS:
        raise HeadError(
            f"{owner}: subword {subword!r} is not among {listed(SUBWORDS)}{did_you_mean(subword, SUBWORDS)}"
        )


def _first(hidden: Tensor, words: WordIds) -> Features:
    tokens = hidden.shape[1]
    order = torch.arange(tokens, device=hidden.device).expand_as(words.ids)
    none = torch.full((len(hidden), words.count + 1), tokens, device=hidden.device)
    places = none.scatter_reduce(1, _targets(words), order, "amin")[:, : words.count]
    mask = places < tokens
    index = places.clamp(max=tokens - 1).unsqueeze(-1).expand(-1, -1, hidden.shape[2])
    return Features(hidden.gather(1, index).masked_fill(~mask.unsqueeze(-1), 0.0), mask)


def _mean(hidden: Tensor, words: WordIds) -> Features:
    # Sums run in fp32 whatever the hidden states' dtype, as in poolings.
    inside = (words.ids >= 0).unsqueeze(-1)
    zeros = torch.zeros((len(hidden), words.count + 1, hidden.shape[2]), device=hidden.device)
    targets = _targets(words)
    kept = hidden.float().masked_fill(~inside, 0.0)
    totals = zeros.scatter_add(1, targets.unsqueeze(-1).expand_as(kept), kept)[:, : words.count]
    ones = torch.ones_like(targets, dtype=torch.float32)
    counts = zeros.new_zeros(zeros.shape[:2]).scatter_add(1, targets, ones)[:, : words.count]
    return Features(totals / counts.clamp(min=1.0).unsqueeze(-1), counts > 0)


def _targets(words: WordIds) -> Tensor:
    """Return word numbers with one more than the last for tokens of no word."""
    return words.ids.masked_fill(words.ids < 0, words.count)


_READ = {"first": _first, "mean": _mean}
