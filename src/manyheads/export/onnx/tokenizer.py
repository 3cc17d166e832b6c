"""``tokenizer.json``: the backbone's own tokenizer, for ``onnx.tokenizer`` and for tokenizers in other languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manyheads.errors import ExportError
from manyheads.onnx.layout import TOKENIZER_JSON

# Tokens of a row where there is no limit: the file records the side of truncation with a number.
_NO_LIMIT = 1 << 30


def write_tokenizer(tokenizer: Any, limit: int | None, folder: Path) -> None:
    """Write a tokenizer that truncates at the limit, on the side on which this one does, and does not pad.

    Args:
        tokenizer: The backbone's own.
        limit: Most tokens of a row, special tokens included; ``None`` for no limit.
        folder: The folder.

    Raises:
        ExportError: the file cannot contain this tokenizer.
    """
    name = type(tokenizer).__name__
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError(f"{name}: is not of the tokenizers library, so no {TOKENIZER_JSON} can contain it")
    if tokenizer.split_special_tokens:
        raise ExportError(f"{name}: splits special tokens, which {TOKENIZER_JSON} cannot record; export without it")
    copied = type(backend).from_str(backend.to_str())
    copied.no_padding()
    copied.enable_truncation(_NO_LIMIT if limit is None else limit, direction=tokenizer.truncation_side)
    copied.save(str(folder / TOKENIZER_JSON))
