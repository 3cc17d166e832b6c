"""Heads that were trained on pairs of texts get pairs, others single texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from manyheads.data.texts.texts import Texts
from manyheads.errors import TextError, listed


def check_pairs(pairs: Mapping[str, bool | None], texts: Texts, columns: Mapping[str, Sequence[str]]) -> None:
    """Check that heads get what they were trained on.

    Args:
        pairs: Head name -> whether it was trained on pairs; ``None`` if nobody knows.
        texts: The texts.
        columns: Head name -> the two columns that it was trained on, where they are known.

    Raises:
        TextError: pairs of texts for a head that was trained on single texts, or single texts for pairs.
    """
    are_pairs = any(not isinstance(text, str) for text in texts.texts)
    for name, trained_on_pairs in pairs.items():
        if trained_on_pairs is None or not len(texts) or trained_on_pairs == are_pairs:
            continue
        named = f" ({listed(columns[name])})" if name in columns else ""
        trained = f"pairs of texts{named}" if trained_on_pairs else "single texts"
        given = "pairs: [(text, other), ...]" if trained_on_pairs else "a list of strings"
        raise TextError(f"Head {name!r}: was trained on {trained}; give {given}")
