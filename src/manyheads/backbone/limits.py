"""The token limit of a backbone."""

from __future__ import annotations

from torch import nn

from manyheads.types import Tokenizer

# transformers uses 10^30 for an unknown limit.
_NO_LIMIT = 1_000_000
# Names that families give to the table of learned positions.
_POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")


def token_limit(model: nn.Module, tokenizer: Tokenizer | None) -> int | None:
    """Return the most tokens per row that model and tokenizer allow, special tokens included, or ``None``.

    RoBERTa-like models number positions from after the padding id, so their limit is smaller than their table.
    """
    limits = [_positions(model), getattr(tokenizer, "model_max_length", None)]
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
    return min(known) if known else None


def table_limit(model: nn.Module) -> int | None:
    """Return the most tokens per row in the model's table of learned positions; ``None`` without such a table."""
    return _positions(model) if _position_table(model) is not None else None


def _positions(model: nn.Module) -> int | None:
    size = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(size, int):
        return None
    table = _position_table(model)
    return size if table is None or table.padding_idx is None else size - int(table.padding_idx) - 1


def _position_table(model: nn.Module) -> nn.Embedding | None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith(_POSITION_TABLES):
            return module
    return None
