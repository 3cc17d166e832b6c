"""``check_lm``: compare the language models of two checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from manyheads.backbone import Backbone, load_backbone
from manyheads.backbone.limits import token_limit
from manyheads.backbone.load import load_tokenizer, wrap_model
from manyheads.evaluation.lm_check import LMCheck, compare_logits
from manyheads.model import HeadedModel


def check_lm(model: HeadedModel, reference: HeadedModel | nn.Module | str | Path, texts: Sequence[str]) -> LMCheck:
    """Compare the logits of a model's language model with those of a reference.

    Args:
        model: The model to check.
        reference: Another model, a Hugging Face model object, or a checkpoint's path or hub id.
        texts: At least one text.

    Raises:
        NoLanguageModelError: one of the two has no language model.
        InputError: no text.

    Examples:
        >>> mh.check_lm(trained, gpt2, texts).bit_identical
        True
    """
    other, tokenizer = _as_backbone(reference, model)
    limit = token_limit(model.backbone, model.tokenizer)
    return compare_logits(model.core.backbone, other, model.tokenizer, texts, limit, tokenizer)


def _as_backbone(reference: HeadedModel | nn.Module | str | Path, model: HeadedModel) -> tuple[Backbone, Any]:
    """Return the reference's backbone, and its tokenizer if it has one."""
    if isinstance(reference, HeadedModel):
        return reference.core.backbone, reference.tokenizer
    if isinstance(reference, nn.Module):
        return wrap_model(reference), None
    dtype = next(model.backbone.parameters()).dtype
    loaded = load_backbone(reference, dtype=dtype, device=model.device)
    assert loaded.source is not None
    return loaded, load_tokenizer(loaded.source)
