"""Give the backbone the tokenizer that its prompts and label words are encoded with."""

from __future__ import annotations

from manyheads.backbone.limits import token_limit
from manyheads.core.module import HeadedCore
from manyheads.data.texts.prompt_tokens import TextPromptTokenizer
from manyheads.types import Tokenizer


def use_tokenizer(core: HeadedCore, tokenizer: Tokenizer | None) -> None:
    """Encode prompts and label words with a tokenizer; without one, heads cannot use them."""
    limit = token_limit(core.backbone.model, tokenizer)
    core.backbone.use_prompt_tokenizer(None if tokenizer is None else TextPromptTokenizer(tokenizer, limit))
