"""The fingerprint of a tokenizer."""

from __future__ import annotations

import json
from typing import Any

from manyheads.runtime.hashes import combined_digest
from manyheads.types import Tokenizer

# Texts on which normalization, splitting and special tokens show; a vocabulary shows in itself.
_TEXTS = (
    "The patient can't walk; temperature 38.5 C, pulse 112/min.",
    "  two  spaces,\ta tab\nand a new line ",
    "Straße ǅ ﬁ ½ \uff21\uff22 É e\u0301 É",
    "漢字かな交じり文 मुंबई में กรุงเทพ العربية עברית",
    "😀 👩\u200d👧 \u200b\u00ad\u00a0",
    "<s>[CLS]<|endoftext|></s>[SEP]<pad>",
)


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return a digest that is equal for tokenizers that encode texts alike, whatever files or release they come from.

    It covers the vocabulary, the merges or scores of the model, and the encoding of a few texts and one pair.
    """
    vocabulary = sorted(tokenizer.get_vocab().items())
    encoded = [_encoded(tokenizer, text) for text in _TEXTS] + [_encoded(tokenizer, _TEXTS[0], _TEXTS[1])]
    return combined_digest(json.dumps(part) for part in (vocabulary, _model(tokenizer), encoded))


def _encoded(tokenizer: Tokenizer, *texts: str) -> list[int] | None:
    try:
        return list(tokenizer(*texts, verbose=False)["input_ids"])
    except Exception:  # a tokenizer without an unknown token raises errors of its own; that is behavior too
        return None


def _model(tokenizer: Tokenizer) -> list[Any]:
    """Return the merges or scored pieces of a fast tokenizer's model."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return []
    model = json.loads(backend.to_str())["model"]
    scored = model["vocab"] if isinstance(model.get("vocab"), list) else []
    # Releases write a merge as "a b" or as ["a", "b"].
    return scored + [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges") or []]
