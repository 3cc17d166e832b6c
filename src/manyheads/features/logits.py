"""Room for the logits of many texts, by head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from manyheads.data.texts.tokenize import Tokenized
from manyheads.heads import Head
from manyheads.heads.logits import Logits


def empty_logits(heads: Mapping[str, Head], tokenized: Tokenized, rows: np.ndarray) -> dict[str, Logits]:
    """Return uninitialized fp32 logits of some texts, by head name.

    Args:
        heads: The heads, by name.
        tokenized: The texts.
        rows: Row numbers of the texts.
    """
    counts = [0 if tokenized.words is None else len(tokenized.words[row]) for row in rows]
    words = np.array(counts, dtype=np.int64)
    return {name: head.spec.logits_type.empty(head.spec.outputs, words) for name, head in heads.items()}
