"""How many tokens a backbone can read."""

from __future__ import annotations

from typing import Any

from torch import nn

# transformers writes 10^30 for "no limit known".
_NO_LIMIT = 1_000_000


def token_limit(model: nn.Module, tokenizer: Any) -> int | None:
    """Return the longest row of tokens that model and tokenizer allow, special tokens included, or ``None``.

    RoBERTa-like models count positions from behind the padding id, so their table is larger than their limit.
    """
    limits = [_positions(model), getattr(tokenizer, "model_max_length", None)]
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
    return min(known) if known else None


def _positions(model: nn.Module) -> int | None:
    size = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(size, int):
        return None
    for name, module in model.named_modules():
        table = name.endswith("position_embeddings") and isinstance(module, nn.Embedding)
        if table and module.padding_idx is not None:
            return size - int(module.padding_idx) - 1
    return size
