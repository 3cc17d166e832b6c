"""Tokenize texts for one backbone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from manyheads.backbone.limits import token_limit
from manyheads.backbone.stack.probe import forward_arguments
from manyheads.core import HeadedCore
from manyheads.data.texts.row_limit import row_limit
from manyheads.data.texts.tokenize import Tokenized, tokenize
from manyheads.errors import InputError
from manyheads.runtime.progress import spinner
from manyheads.runtime.words import Place
from manyheads.taps import BackboneTap, Tap
from manyheads.types import Tokenizer


def tokenize_for(
    core: HeadedCore,
    tokenizer: Tokenizer,
    texts: Sequence[Any],
    max_length: int | None = None,
    long_text: str = "truncate",
    where: Sequence[str] | None = None,
    taps: Iterable[Tap] = (),
    words: Sequence[Sequence[Place]] | None = None,
) -> Tokenized:
    """Tokenize for this backbone, cut to ``max_length`` or to its own limit, whichever is less; see
    ``data.texts.tokenize.tokenize``.

    A text that fits alone but not with the prompt that a tap puts around it counts as cut: there, its end gives way.

    Raises:
        InputError: a ``max_length`` that is no positive number, or beyond the backbone's limit.
    """
    limit, room = _limit(core, tokenizer, max_length), _room(core, texts, taps)
    with spinner("Tokenizing"):
        return tokenize(tokenizer, texts, limit, forward_arguments(core.backbone.stack), long_text, where, room, words)


def tokenize_whole(
    core: HeadedCore, tokenizer: Tokenizer, texts: Sequence[Any], words: Sequence[Sequence[Place]] | None = None
) -> Tokenized:
    """Tokenize for this backbone, and cut nothing off."""
    with spinner("Tokenizing"):
        return tokenize(tokenizer, texts, None, forward_arguments(core.backbone.stack), words=words)


def window_limit(
    core: HeadedCore, tokenizer: Tokenizer, texts: Sequence[Any], max_length: int | None, taps: Iterable[Tap]
) -> int | None:
    """Return the most tokens of a window, special tokens included, beside the longest prompt that a tap puts around it;
    ``None`` for no limit.

    Raises:
        The same as ``tokenize_for``.
    """
    sizes = (_limit(core, tokenizer, max_length), _room(core, texts, taps))
    return min((size for size in sizes if size is not None), default=None)


def _limit(core: HeadedCore, tokenizer: Tokenizer, max_length: int | None) -> int | None:
    """Return the most tokens of a row."""
    return row_limit(max_length, token_limit(core.backbone.model, tokenizer))


def _room(core: HeadedCore, texts: Sequence[Any], taps: Iterable[Tap]) -> int | None:
    """Return the most tokens of a text that fits into every prompt of the taps; ``None`` for no limit."""
    prompts = core.backbone.templates(
        core.request(tap.resolve(core.backbone.facts) for tap in taps if isinstance(tap, BackboneTap))
    )
    if prompts and any(isinstance(text, tuple) for text in texts):
        raise InputError(f"The prompt {next(iter(prompts))!r:.60} stands around one text; give no pairs")
    return min(
        (template.limit - template.added for template in prompts.values() if template.limit is not None), default=None
    )
