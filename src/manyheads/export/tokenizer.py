"""The exported tokenizer: it pads on the right, with a token that the config names, and truncates at the limit."""

from __future__ import annotations

import copy
from typing import Any

from manyheads.backbone import Backbone
from manyheads.backbone.limits import token_limit
from manyheads.errors import ExportError


def exported_tokenizer(tokenizer: Any, backbone: Backbone, owner: str) -> Any:
    """Return a copy of a tokenizer, ready for batches.

    Raises:
        ExportError: there is no tokenizer, or none of its special tokens can pad.
    """
    if tokenizer is None:
        raise ExportError(f"{owner}: this model has no tokenizer to export with it; wrap it with one")
    copied = copy.deepcopy(tokenizer)
    copied.padding_side = "right"
    limit = token_limit(backbone.model, tokenizer)
    if limit is not None:
        copied.model_max_length = limit
    if copied.pad_token_id is None:
        filler = copied.eos_token or copied.unk_token or copied.bos_token
        if filler is None:
            raise ExportError(f"{owner}: the tokenizer has no special token to pad with; set tokenizer.pad_token")
        copied.pad_token = filler
    return copied


def pads_with_end(tokenizer: Any) -> bool:
    """Return whether the padding token also ends texts."""
    return bool(tokenizer.pad_token_id == tokenizer.eos_token_id)
