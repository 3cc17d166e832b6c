"""The lexical tap: the text's tokens, weighted by rarity. It needs no pass of the backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional as F

from manyheads.errors import HeadError
from manyheads.taps.base import BackboneTap, Reader
from manyheads.types import BackboneFacts, Features, Request, States


@dataclass(frozen=True)
class Lexical(BackboneTap):
    """Read a TF-IDF bag of the text's token ids.

    It contains rare words that a sentence's vector may lose. The weights are those of scikit-learn's
    ``TfidfTransformer(sublinear_tf=True)``: ``1 + ln(count)`` times ``ln((1 + texts) / (1 + texts with the token)) +
    1``, scaled to unit length per text. ``Frozen`` counts the training texts; until then every token has weight 1.

    Args:
        tokens: Number of token ids. Training sets it and drops tokens that occur in no training text or in all.

    Raises:
        HeadError: a number that is not positive.

    Examples:
        >>> spec = mh.Multiclass(labels=["low", "high"], reads=[mh.Hidden(), mh.Lexical()])
        >>> len(model.add_head("risk", spec).taps)
        2
    """

    kind: ClassVar[str] = "lexical"

    tokens: int | None = None

    def __post_init__(self) -> None:
        number = isinstance(self.tokens, int) and not isinstance(self.tokens, bool) and self.tokens > 0
        if not (self.tokens is None or number):
            raise HeadError(f"Lexical: tokens must be a positive whole number or None, got {self.tokens!r}")

    def resolve(self, facts: BackboneFacts) -> Lexical:
        """Weigh the whole vocabulary until training decides."""
        return replace(self, tokens=min(self.tokens or facts.vocabulary_size, facts.vocabulary_size))

    def request(self, facts: BackboneFacts) -> Request:
        """Ask nothing of the backbone."""
        return Request()

    def read(self, states: States) -> Features:
        """Return the token ids themselves."""
        return Features(states.input_ids, states.mask)

    def width(self, facts: BackboneFacts) -> int:
        """Return the number of token ids."""
        assert self.tokens is not None
        return self.tokens

    @property
    def prepares(self) -> bool:
        """Always true: the tokens are counted on the training rows."""
        return True

    def sized(self, features: Features) -> Lexical:
        """Return the tap with the number of token ids that the training texts have."""
        return Lexical(len(lexicon(TokenIds.of(features), self.tokens)[0]))

    def reader(self, facts: BackboneFacts) -> LexicalReader:
        """Return the reader of these tokens."""
        return LexicalReader(self.width(facts))


class LexicalReader(Reader):
    """Computes the bag of weighted tokens of a text.

    Attributes:
        ids: The token ids of the bag (tokens,), int64, ascending.
        weights: Their inverse document frequencies (tokens,), fp32.
    """

    passes = False
    ids: Tensor
    weights: Tensor

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.register_buffer("ids", torch.arange(tokens))
        self.register_buffer("weights", torch.ones(tokens))

    @property
    def sparse(self) -> bool:
        """Always true."""
        return True

    def matrix(self, features: Features) -> csr_array:
        """Return the bags as a sparse matrix."""
        return bags(TokenIds.of(features), self.ids.numpy(), self.weights.numpy())

    def prepare(self, features: Features, target_scores: Tensor) -> None:
        """Select the token ids and compute their inverse document frequencies."""
        self.set_lexicon(*lexicon(TokenIds.of(features), len(self.ids)))

    def set_lexicon(self, ids: np.ndarray, weights: np.ndarray) -> None:
        """Set the token ids and their weights."""
        self.ids.copy_(torch.from_numpy(ids))
        self.weights.copy_(torch.from_numpy(weights))

    def forward(self, features: Features) -> Tensor:
        """Return (rows, ids) bags of (rows, tokens) token ids, each of unit length or all zeros."""
        assert features.mask is not None
        ids, kept = features.values, len(self.ids)
        columns = torch.searchsorted(self.ids, ids).clamp(max=kept - 1)
        known = (self.ids[columns] == ids) & features.mask
        counts = torch.zeros((len(ids), kept), device=ids.device).scatter_add_(1, columns, known.float())
        frequencies = torch.where(counts > 0, 1.0 + counts.clamp(min=1.0).log(), 0.0)
        return F.normalize(frequencies * self.weights, dim=1)

    def check(self) -> None:
        """Check that the token ids ascend, since they are found by binary search."""
        if int(self.ids[0]) < 0 or bool((self.ids.diff() <= 0).any()):
            raise HeadError("Lexical: its token ids do not ascend")


@dataclass(frozen=True, eq=False)
class TokenIds:
    """The token ids of many texts, end to end.

    Attributes:
        ids: (tokens,) int64.
        offsets: (texts + 1,) start of each text, int64.
    """

    ids: np.ndarray
    offsets: np.ndarray

    @staticmethod
    def of(features: Features) -> TokenIds:
        """Return right-padded token ids (rows, tokens) end to end."""
        assert features.mask is not None
        lengths = features.mask.sum(dim=1).numpy()
        return TokenIds(features.values[features.mask].numpy(), np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def counts(self) -> csr_array:
        """Return how often each text holds each token id, (texts, largest id + 1)."""
        width = int(self.ids.max()) + 1 if len(self.ids) else 1
        ones = np.ones(len(self.ids), dtype=np.float32)
        counted = csr_array((ones, self.ids, self.offsets), (len(self), width), copy=True)
        counted.sum_duplicates()
        return counted


def lexicon(texts: TokenIds, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that occur in some texts but not in all, ascending, and their weights.

    Args:
        texts: To count.
        most: Maximum number of ids; the most frequent ones are kept.
    """
    held = np.bincount(texts.counts().indices)
    ids = np.flatnonzero((held > 0) & (held < len(texts)))
    if not len(ids):
        ids = np.flatnonzero(held > 0)
    if most is not None and len(ids) > most:
        ids = np.sort(ids[np.argsort(-held[ids], kind="stable")[:most]])
    return ids, (np.log((1 + len(texts)) / (1 + held[ids])) + 1).astype(np.float32)


def bags(texts: TokenIds, ids: np.ndarray, weights: np.ndarray) -> csr_array:
    """Return what ``LexicalReader`` returns for these texts, as a sparse (texts, ids) fp32 matrix."""
    counted = texts.counts()
    columns = np.full(max(counted.shape[1], int(ids[-1]) + 1), -1)
    columns[ids] = np.arange(len(ids))
    chosen = columns[counted.indices]
    rows = np.repeat(np.arange(len(texts)), np.diff(counted.indptr))[chosen >= 0]
    values = (1 + np.log(counted.data[chosen >= 0])) * weights[chosen[chosen >= 0]]
    lengths = np.sqrt(np.bincount(rows, values.astype(np.float64) ** 2, minlength=len(texts)))
    table = (values / lengths[rows]).astype(np.float32), (rows, chosen[chosen >= 0])
    return csr_array(table, shape=(len(texts), len(ids)))
