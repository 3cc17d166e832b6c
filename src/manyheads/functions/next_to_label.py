"""``next_to_label``: choose the texts to label next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from manyheads.data.texts.texts import read_texts_from_list
from manyheads.features import open_cache
from manyheads.labelling.next_rows import next_rows
from manyheads.model import HeadedModel


def next_to_label(
    model: HeadedModel,
    texts: Sequence[str] | Sequence[tuple[str, str]] | Sequence[list[str]],
    n: int,
    heads: Iterable[str] | None = None,
    max_length: int | None = None,
    cache: str | Path | None = "auto",
    seed: int = 0,
) -> list[int]:
    """Choose the texts to label next: those that trained heads are uncertain of, and that differ from each other.

    A head is uncertain of a text if its two largest probabilities are close: by 1 minus their difference, averaged over
    the heads. The most uncertain texts, ten times ``n``, are divided into ``n`` clusters by k-means on the heads'
    features, and each cluster gives the text nearest to its center (Zhdanov 2019).

    Args:
        model: A model with trained heads.
        texts: Texts without labels, as in ``predict``.
        n: Number of texts to choose.
        heads: Names of the heads to label for; all that predict labels by default.
        max_length: Maximum tokens per text; the backbone's limit by default.
        cache: Folder of a feature cache, ``"auto"`` for the user's own, or ``None`` to keep nothing.
        seed: Of the clusters' start.

    Returns:
        Positions in ``texts``, the most uncertain first. Empty texts and repetitions are not chosen.

    Raises:
        HeadError: a head is untrained, or none predicts labels.
        DataError: ``n`` is not between 1 and the number of different texts.

    Examples:
        >>> chosen = mh.next_to_label(trained, texts, n=2)
        >>> len(chosen)
        2
    """
    read = read_texts_from_list(texts)
    return next_rows(model.core, model.tokenizer, read, n, heads, max_length, open_cache(cache), seed)
