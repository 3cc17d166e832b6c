"""The word tap: one vector per word of a text, from one layer of the backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from manyheads.errors import HeadError
from manyheads.runtime.words import check_subword, check_window
from manyheads.taps.base import BackboneTap, Reader
from manyheads.taps.hidden import Hidden
from manyheads.types import BackboneFacts, Features, Request, States, WordIds


@dataclass(frozen=True)
class Words(BackboneTap):
    """Read one vector per word. Token heads create these taps from their ``reads``.

    Args:
        layer: An index into transformers' ``hidden_states``, as of ``taps.hidden.Hidden``.
        subword: A word's vector is the state of its ``"first"`` token, or the ``"mean"`` of its tokens' states.
        window: Number of words before and after each word whose vectors are read too: nearest first, the one before
            each pair first. Words without a token are skipped; beyond the text the vectors are zero.

    Raises:
        HeadError: a layer, a policy or a window that is none of these.
    """

    kind: ClassVar[str] = "words"

    layer: int = -1
    subword: str = "first"
    window: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.layer, int) or isinstance(self.layer, bool):
            raise HeadError(f"Words: layer must be an integer, got {self.layer!r}; name one layer, or several taps")
        check_subword("Words", self.subword)
        check_window("Words", self.window)

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

    @property
    def stored(self) -> BackboneTap:
        """The tap without a window."""
        return replace(self, window=0)

    def from_stored(self, features: Features) -> Features:
        """Return each word's vector and those of its neighbors side by side."""
        return with_neighbors(features, self.window) if self.window else features

    def read(self, states: States) -> Features:
        """Return (rows, words, width) and the mask (rows, words) of the words that have a token."""
        assert states.words is not None
        return self.from_stored(_READ[self.subword](states.hidden[self.layer], states.words))

    def width(self, facts: BackboneFacts) -> int:
        """Return the hidden size, for each word of the window."""
        return facts.widths[self.layer] * (1 + 2 * self.window)

    def reader(self, facts: BackboneFacts) -> Reader:
        """Return the one that passes vectors on."""
        return Reader()


def with_neighbors(features: Features, window: int) -> Features:
    """Return the vectors of words with those of so many words before and after them.

    Args:
        features: (rows, words, width) with the mask of the words that have a token; the others are skipped.
        window: Number of words on each side.

    Returns:
        (rows, words, (1 + 2 * window) * width), the same mask.
    """
    values, mask = features.values, features.mask
    assert mask is not None
    count = mask.shape[1]
    places = torch.arange(count, device=mask.device).expand_as(mask)
    # The nearest word with a token before and after each word; the place of a row of zeros where there is none.
    before = torch.where(mask, places, -1).cummax(dim=1)[0]
    before = torch.nn.functional.pad(before[:, :-1], (1, 0), value=-1)
    before = before.masked_fill(before < 0, count)
    after = torch.where(mask, places, count).flip(1).cummin(dim=1)[0].flip(1)
    # Joined, not padded: a number of words that is padding's value would be a constant of a traced graph.
    end = torch.full((mask.shape[0], 1), count, device=mask.device)
    after = torch.cat([after[:, 1:], end], dim=1)
    padded = torch.cat([values, values.new_zeros(values.shape[0], 1, values.shape[2])], dim=1)
    parts, steps = [values], {"before": before, "after": after}
    reached = dict.fromkeys(steps, places)
    for _ in range(window):
        for side, nearest in steps.items():
            beyond = torch.cat([nearest, end], dim=1)
            reached[side] = beyond.gather(1, reached[side])
            parts.append(padded.gather(1, reached[side].unsqueeze(-1).expand(-1, -1, values.shape[2])))
    return Features(torch.cat(parts, dim=2).masked_fill(~mask.unsqueeze(-1), 0.0), mask)


def _first(hidden: Tensor, words: WordIds) -> Features:
    tokens = hidden.shape[1]
    order = torch.arange(tokens, device=hidden.device).expand_as(words.ids)
    none = torch.full((hidden.shape[0], words.count + 1), tokens, device=hidden.device)
    places = none.scatter_reduce(1, _targets(words), order, "amin")[:, : words.count]
    mask = places < tokens
    index = places.clamp(max=tokens - 1).unsqueeze(-1).expand(-1, -1, hidden.shape[2])
    return Features(hidden.gather(1, index).masked_fill(~mask.unsqueeze(-1), 0.0), mask)


def _mean(hidden: Tensor, words: WordIds) -> Features:
    # Sums run in fp32 whatever the hidden states' dtype, as in poolings.
    inside = (words.ids >= 0).unsqueeze(-1)
    zeros = torch.zeros((hidden.shape[0], words.count + 1, hidden.shape[2]), device=hidden.device)
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
