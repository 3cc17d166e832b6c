"""By what a text's features are found again: the very integers that the backbone reads."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from manyheads.data.texts.tokenize import Tokenized


def row_keys(tokenized: Tokenized, by_word: bool) -> np.ndarray:
    """Return 16 bytes per row (rows,), equal for equal inputs: tokenizer, truncation and text are all in the ids.

    They are BLAKE2b of the ids (int32) and of every other input that the tokenizer emits.

    Args:
        tokenized: The rows.
        by_word: Whether it also matters which words tokens belong to, if they were asked for.
    """
    columns = [tokenized.inputs[name] for name in sorted(tokenized.inputs) if by_word or name != "word_ids"]
    keys = [
        blake2b(b"|".join(np.array(cells, dtype=np.int32).tobytes() for cells in row), digest_size=16).digest()
        for row in zip(*columns, strict=True)
    ]
    return np.array(keys, dtype="S16")
