"""``propose_words``: words that the tokenizer should know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manyheads.backbone.load import read_tokenizer
from manyheads.data.tables.table import read_table
from manyheads.data.texts.texts import read_texts
from manyheads.data.vocabulary.propose import WordProposals, propose
from manyheads.model import HeadedModel


def propose_words(
    model: HeadedModel | str | Path,
    data: object,
    text: str | Sequence[str],
    top: int = 50,
    min_count: int = 5,
    trust_remote_code: bool = False,
) -> WordProposals:
    """Propose words of a table to add to the tokenizer, those that save the most tokens first.

    A word is a run of letters; numbers, ids and punctuation are skipped. ``model.add_tokens`` adds words.

    Args:
        model: A model, or a checkpoint's folder or hub id, from which only the tokenizer is loaded.
        data: As in ``train``.
        text: The text column, or two columns for text pairs.
        top: Maximum number of words.
        min_count: Minimum number of occurrences in the table.
        trust_remote_code: Whether Python code in the checkpoint may run.

    Returns:
        A sequence of words, each with its count, its tokens and the number of tokens it saves, and the table's number
        of tokens before and after.

    Raises:
        InputError: no tokenizer, or a ``top`` or ``min_count`` that is not a positive integer.
        UnknownBackboneError: no such checkpoint.
        DataError: a table, column or text that cannot be used.

    Examples:
        >>> proposals = mh.propose_words(bert, [{"note": "metformin and metformin"}], text="note", min_count=2)
        >>> len(proposals) <= 50
        True
    """
    texts = read_texts(read_table(data), text)
    if isinstance(model, HeadedModel):
        return propose(model.tokenizer, texts, top, min_count)
    return propose(read_tokenizer(model, trust_remote_code), texts, top, min_count)
