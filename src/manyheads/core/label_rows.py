"""What the LM head knows of labels: for each, the rows of its own words, as one row of a classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

# Of a word's pieces, only the first can be the next token; each later one counts this much less than the one before.
_LATER_PIECE = 0.25

Pieces = Sequence[Sequence[int]]


def label_rows(rows: Tensor, labels: Sequence[Pieces]) -> Tensor:
    """Return one row per label (labels, width), fp32, their mean at zero.

    A label's row is the weighted mean of the LM head's rows for the tokens of its words: as in a length-normalised
    score, long names have no advantage. A token that several labels hold is shared out between them, since it tells
    none of them from the others.

    Args:
        rows: The LM head's (vocabulary, width).
        labels: Per label, per word, the token ids of the word's pieces.
    """
    held = Counter(token for words in labels for token in {piece for word in words for piece in word})
    means = torch.stack([_mean(rows, words, held) for words in labels])
    return means - means.mean(dim=0)


def _mean(rows: Tensor, words: Pieces, held: Counter[int]) -> Tensor:
    weighed = [(piece, _LATER_PIECE**place / held[piece]) for word in words for place, piece in enumerate(word)]
    weights = torch.tensor([weight for _, weight in weighed], device=rows.device)
    picked = rows[torch.tensor([piece for piece, _ in weighed], device=rows.device)].float()
    return weights @ picked / weights.sum()
