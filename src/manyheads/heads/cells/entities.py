"""BIO tags: 0 is O, and type k has B at 2k + 1 and I at 2k + 2; from tags to entities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OUTSIDE = 0


def bio_tags(types: Sequence[object]) -> tuple[str, ...]:
    """Return the names of the tags of some entity types, in the order of their numbers."""
    return ("O", *(f"{prefix}-{name}" for name in types for prefix in "BI"))


def types_of(labels: Sequence[object]) -> list[object] | None:
    """Return the entity types that a list of tags names, in order of first appearance; ``None`` for no such list."""
    if not all(is_tag(label) for label in labels):
        return None
    return list(dict.fromkeys(str(label)[2:] for label in labels if label != "O"))


def is_tag(label: object) -> bool:
    """Tell whether a label is ``O``, or ``B-`` or ``I-`` and a type."""
    return isinstance(label, str) and (label == "O" or (label[:2] in ("B-", "I-") and len(label) > 2))


def entities(tags: np.ndarray) -> np.ndarray:
    """Return the entities of one text's tags (words,) as int64 (entities, 3): first word, word behind the last, type.

    An ``I`` that follows neither ``B`` nor ``I`` of its type begins an entity: seqeval's default rule (that of
    conlleval), against which this is tested.
    """
    kinds = np.where(tags == OUTSIDE, -1, (tags - 1) // 2)
    before = np.concatenate([[-1], kinds[:-1]])
    begins = (kinds >= 0) & ((tags % 2 == 1) | (before != kinds))
    starts = np.flatnonzero(begins)
    # An entity ends where the next one begins, or its type ends.
    breaks = np.flatnonzero(np.concatenate([begins | (before != kinds), [True]]))
    ends = breaks[np.searchsorted(breaks, starts, side="right")]
    return np.stack([starts, ends, kinds[starts]], axis=1).astype(np.int64)
