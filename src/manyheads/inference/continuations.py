"""From the token ids that ``generate`` returns to texts."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.types import Tokenizer

Continuations = list[str] | list[list[str]]


def continuations(tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]) -> list[str]:
    """Return the text after each prompt, without special tokens, such that prompt and text join without a gap.

    Args:
        tokenizer: The backbone's own.
        prompts: Token ids of each prompt; empty if ``rows`` do not repeat it.
        rows: The token ids of each prompt, and those after it.
    """
    # A token's text may depend on the one before it (a first space is dropped), so the whole row is decoded.
    starts = [len(tokenizer.decode(prompt, skip_special_tokens=True)) for prompt in prompts]
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    return [text[start:] for text, start in zip(texts, starts, strict=True)]


def by_prompt(texts: Sequence[str], prompts: int) -> Continuations:
    """Return one text for each prompt, or a list of texts where several were generated."""
    count = len(texts) // max(prompts, 1)
    return [*texts] if count < 2 else [[*texts[start : start + count]] for start in range(0, len(texts), count)]
