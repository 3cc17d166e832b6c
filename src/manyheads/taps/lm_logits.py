"""The LM-logits tap: log-probabilities of the language model's next token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from manyheads.errors import HeadError, did_you_mean, listed
from manyheads.taps.base import BackboneTap, Reader
from manyheads.taps.hidden import Hidden, default_pool
from manyheads.taps.pooling import POOLINGS
from manyheads.taps.prompted import check_prompt, under
from manyheads.types import BackboneFacts, Features, Request, States

_POOL_NAMES = ("auto", *POOLINGS)
# Maximum number of logits in memory.
_HELD_LOGITS = 1 << 24


@dataclass(frozen=True)
class LMLogits(BackboneTap):
    """Read the LM head's output at the pooled position: the log-softmax of its logits.

    The last hidden state is pooled before the LM head, so logits of every token of a text are never stored.

    Args:
        pool: As in ``Hidden``, without the learned poolings: ``"auto"``, ``"cls"``, ``"mean"``, ``"max"`` or
            ``"last"``.
        top_k: Number of tokens to keep: those that explain the most variance of the head's labels on the training rows.
            The softmax is over these tokens. Before training, and in your own loop, they are the first ones. ``None``
            keeps the whole vocabulary, which is expensive if it is large.
        prompt: As in ``Hidden``.

    Raises:
        HeadError: an unknown pool, fewer than two tokens, or a prompt without ``{text}``.

    Examples:
        >>> head = model.add_head("risk", mh.Multiclass(labels=["low", "high"], reads=mh.LMLogits(top_k=10)))
        >>> head.width
        10
    """

    kind: ClassVar[str] = "lm_logits"

    pool: str = "auto"
    top_k: int | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.pool not in _POOL_NAMES:
            raise HeadError(
                f"LMLogits: pool {self.pool!r} is not among {listed(_POOL_NAMES)}{did_you_mean(self.pool, _POOL_NAMES)}"
            )
        if not (self.top_k is None or (type(self.top_k) is int and self.top_k > 1)):
            raise HeadError(f"LMLogits: top_k must be a whole number of at least 2, or None, got {self.top_k!r}")
        if self.prompt is not None:
            check_prompt("LMLogits", self.prompt)

    def resolve(self, facts: BackboneFacts) -> BackboneTap:
        """Resolve ``pool="auto"`` and the number of tokens, and check that there is an LM head."""
        if facts.lm_head is None:
            raise HeadError(
                f"LMLogits: {facts.name} has no LM head that reads the last layer's states; load a language model, or "
                "read Hidden()"
            )
        top_k = min(self.top_k or facts.vocabulary_size, facts.vocabulary_size)
        return under(self.prompt, replace(self, pool=default_pool(self.pool, facts), top_k=top_k, prompt=None))

    @property
    def stored(self) -> BackboneTap:
        """The pooled hidden state; the LM head runs later, for any number of tokens."""
        return Hidden(-1, self.pool)

    def request(self, facts: BackboneFacts) -> Request:
        """Ask for the last layer."""
        return Request(layers=frozenset({-1}))

    def read(self, states: States) -> Features:
        """Return the pooled last hidden state (rows, width); the reader applies the LM head."""
        return Features(POOLINGS[self.pool](states.hidden[-1], states.mask))

    def width(self, facts: BackboneFacts) -> int:
        """Return the number of tokens."""
        assert self.top_k is not None
        return self.top_k

    @property
    def prepares(self) -> bool:
        """Always true: the tokens are selected on the training rows."""
        return True

    @property
    def prepares_by_labels(self) -> bool:
        """Always true: the tokens are those that tell most about the labels."""
        return True

    def reader(self, facts: BackboneFacts) -> LMLogitsReader:
        """Return the reader that applies the LM head."""
        assert facts.lm_head is not None
        return LMLogitsReader(self.width(facts), facts.lm_head, facts.vocabulary_size)


class LMLogitsReader(Reader):
    """Applies the backbone's LM head.

    Args:
        tokens: How many of them it keeps.
        lm_head: From pooled states (rows, width) to fp32 logits (rows, vocabulary).
        vocabulary: Number of tokens.

    Attributes:
        ids: The token ids that it keeps (tokens,), int64, ascending.
    """

    passes = False
    ids: Tensor

    def __init__(self, tokens: int, lm_head: Callable[[Tensor], Tensor], vocabulary: int) -> None:
        super().__init__()
        self._lm_head, self._vocabulary = lm_head, vocabulary
        self.register_buffer("ids", torch.arange(tokens))

    def prepare(self, features: Features, target_scores: Tensor) -> None:
        """Select the most informative tokens; see ``most_informative``."""
        if len(self.ids) < self._vocabulary:
            states = features.values
            self.ids.copy_(most_informative(self._lm_head, states, target_scores, len(self.ids), self._vocabulary))

    def logits(self, states: Tensor) -> Tensor:
        """Return the LM head's logits (rows, tokens kept) of pooled states (rows, width), fp32."""
        rows = max(1, _HELD_LOGITS // self._vocabulary)
        return torch.cat([self._lm_head(part)[:, self.ids] for part in torch.split(states, rows)])

    def forward(self, features: Features) -> Tensor:
        """Return log-probabilities among the tokens kept, (rows, tokens kept)."""
        return torch.log_softmax(self.logits(features.values), dim=-1)

    def check(self) -> None:
        """Check that the token ids ascend and are in the vocabulary."""
        if not 0 <= int(self.ids[0]) <= int(self.ids[-1]) < self._vocabulary or bool((self.ids.diff() <= 0).any()):
            raise HeadError("LMLogits: its token ids do not ascend")


def most_informative(
    lm_head: Callable[[Tensor], Tensor], states: Tensor, numbers: Tensor, count: int, vocabulary: int
) -> Tensor:
    """Return the ids (count,), ascending, of the tokens whose log-probabilities explain the most about a head's labels.

    A token's worth is how much of its variance over the rows the labels account for: the sum, over outputs, of squared
    covariances, as a share of the token's variance.

    Args:
        lm_head: From states to logits.
        states: Pooled (rows, width).
        numbers: Target scores (rows, outputs), NaN where missing.
        count: How many to keep.
        vocabulary: Number of tokens.
    """
    targets = (numbers - numbers.nanmean(dim=0)).nan_to_num(0.0).double()
    total, squares = torch.zeros(2, vocabulary, dtype=torch.float64)
    products = torch.zeros((targets.shape[1], vocabulary), dtype=torch.float64)
    rows = max(1, _HELD_LOGITS // vocabulary)
    for part, wanted in zip(torch.split(states, rows), torch.split(targets, rows), strict=True):
        log_probs = torch.log_softmax(lm_head(part), dim=-1).double()
        total += log_probs.sum(dim=0)
        squares += log_probs.square().sum(dim=0)
        products += wanted.T @ log_probs
    variance = squares / len(states) - (total / len(states)).square()
    worth = products.square().sum(dim=0) / variance.clamp(min=1e-12)
    chosen: Tensor = worth.topk(count).indices.sort().values
    return chosen
