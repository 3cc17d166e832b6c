"""The hidden-state tap: one layer of the backbone, or a learned mix of all, pooled to one vector per row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit_length

from manyheads.errors import HeadError, PoolerError, did_you_mean, listed
from manyheads.taps.base import BackboneTap, Reader
from manyheads.taps.pooling import POOLINGS, AttentionPooling, ScalarMix
from manyheads.taps.prompted import check_prompt, under
from manyheads.types import BackboneFacts, Features, Request, States

POOL_NAMES = ("auto", *POOLINGS, "pooler", "attention")


@dataclass(frozen=True)
class Hidden(BackboneTap):
    r"""Read hidden states of the backbone.

    Args:
        layer: An index into transformers' ``hidden_states`` (0 for the embeddings, -1 for the last hidden state after
            the final norm), or ``"mix"`` for a learned weighted sum of all layers.
        pool: ``"auto"`` (the last real token of a decoder, the masked mean of an encoder), ``"cls"`` (the first real
            token), ``"pooler"`` (the checkpoint's trained pooler), ``"mean"``, ``"max"``, ``"last"``, or
            ``"attention"`` (a learned weighted mean).
        prompt: A template around the text, such as ``"{text}\\nUrgency:"``. Heads with the same template share its
            pass.
        normalize: Scale the pooled vector to unit length, as ``normalize_embeddings`` of sentence-transformers does.
            Both forms share cached features.

    Raises:
        HeadError: an unknown layer or pool, or a prompt without ``{text}``.

    Examples:
        >>> head = model.add_head("risk", mh.Multiclass(labels=["low", "high"], reads=mh.Hidden(layer=-2, pool="mean")))
        >>> head.width
        32
    """

    kind: ClassVar[str] = "hidden"

    layer: int | str = -1
    pool: str = "auto"
    prompt: str | None = None
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.pool not in POOL_NAMES:
            raise HeadError(
                f"Hidden: pool {self.pool!r} is not among {listed(POOL_NAMES)}{did_you_mean(self.pool, POOL_NAMES)}"
            )
        if isinstance(self.layer, bool) or not (self.layer == "mix" or isinstance(self.layer, int)):
            raise HeadError(f"Hidden: layer must be an integer or 'mix', got {self.layer!r}")
        if self.prompt is not None:
            check_prompt("Hidden", self.prompt)
        if self.pool == "pooler" and self.layer != -1:
            raise HeadError(f"Hidden: the pooler reads the last layer, got layer={self.layer!r}; leave it at -1")
        if self.layer == "mix" and self.pool in {"attention", "max"}:
            raise HeadError(
                f"Hidden: layer='mix' pools each layer before mixing, which {self.pool!r} does not allow; "
                "use 'mean', 'cls' or 'last'"
            )
        if not isinstance(self.normalize, bool):
            raise HeadError(f"Hidden: normalize must be True or False, got {self.normalize!r}")
        if self.normalize and self.pool == "attention":
            raise HeadError(
                "Hidden: normalize=True scales pooled vectors, and pool='attention' pools later, in the head; use "
                "'mean', 'cls', 'max' or 'last'"
            )

    def resolve(self, facts: BackboneFacts) -> BackboneTap:
        """Decide ``pool="auto"``, count the layer from the end, check that the backbone has it, and take the prompt
        apart from what is read."""
        resolved = replace(self, pool=default_pool(self.pool, facts), layer=self._layer(facts), prompt=None)
        if resolved.pool == "pooler" and facts.pooler_width is None:
            raise PoolerError(
                f"{facts.name}: no trained pooler to read: {facts.no_pooler_reason}; use pool='cls' or 'mean'"
            )
        return under(self.prompt, resolved)

    def request(self, facts: BackboneFacts) -> Request:
        """Ask for one layer, all layers, or the pooler's output."""
        if self.pool == "pooler":
            return Request(pooled=True)
        if self.layer == "mix":
            return Request(layers=frozenset(range(-len(facts.widths), 0)))
        assert isinstance(self.layer, int)
        return Request(layers=frozenset({self.layer}))

    @property
    def stored(self) -> BackboneTap:
        """The tap without normalization."""
        return replace(self, normalize=False)

    def from_stored(self, features: Features) -> Features:
        """Scale vectors to unit length if the tap does; a vector of zeros stays one."""
        return Features(unit_length(features.values.float())) if self.normalize else features

    def read(self, states: States) -> Features:
        """Pool, and normalize; a token tap (``"attention"``) returns its tokens, a mix stacks its layers."""
        return self.from_stored(self._read(states))

    def _read(self, states: States) -> Features:
        if self.pool == "pooler":
            assert states.pooled is not None
            return Features(states.pooled)
        if self.layer == "mix":
            pooled = [self._pooled(states.hidden[layer], states.mask) for layer in sorted(states.hidden)]
            return Features(torch.stack(pooled, dim=1))
        assert isinstance(self.layer, int)
        hidden = states.hidden[self.layer]
        if self.pool == "attention":
            return Features(hidden, states.mask)
        return Features(self._pooled(hidden, states.mask))

    def width(self, facts: BackboneFacts) -> int:
        """Return the hidden size, or the pooler's."""
        if self.pool == "pooler":
            assert facts.pooler_width is not None
            return facts.pooler_width
        return facts.widths[-1 if self.layer == "mix" else int(self.layer)]

    def reader(self, facts: BackboneFacts) -> Reader:
        """Return the learned pooling or mix, where the tap has one."""
        if self.pool == "attention":
            return AttentionReader(self.width(facts))
        return MixReader(len(facts.widths)) if self.layer == "mix" else Reader()

    def _layer(self, facts: BackboneFacts) -> int | str:
        if isinstance(self.layer, str):
            if len(set(facts.widths)) > 1:
                raise HeadError(f"Hidden: layer='mix' needs layers of one width, {facts.name} has {facts.widths}")
            return self.layer
        count = len(facts.widths)
        if not -count <= self.layer < count:
            raise HeadError(
                f"Hidden: layer {self.layer} does not exist in {facts.name}, whose hidden_states hold {count} "
                f"(0 to {count - 1}, or -{count} to -1)"
            )
        return self.layer if self.layer < 0 else self.layer - count

    def _pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return POOLINGS[self.pool](hidden, mask)


def default_pool(pool: str, facts: BackboneFacts) -> str:
    """Return a pooling with ``"auto"`` decided: what a causal model makes of a text stands at its end."""
    if pool != "auto":
        return pool
    return "last" if facts.causal else "mean"


class AttentionReader(Reader):
    """Attention pooling with learned weights of one head."""

    learns = True
    passes = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooling = AttentionPooling(width)

    def forward(self, features: Features) -> Tensor:
        """Return (rows, width) from (rows, tokens, width)."""
        assert features.mask is not None
        pooled: Tensor = self.pooling(features.values, features.mask)
        return pooled


class MixReader(Reader):
    """A weighted sum of layers with learned weights of one head."""

    learns = True
    passes = False

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.mix = ScalarMix(layers)

    def forward(self, features: Features) -> Tensor:
        """Return (rows, width) from (rows, layers, width)."""
        mixed: Tensor = self.mix(features.values)
        return mixed
