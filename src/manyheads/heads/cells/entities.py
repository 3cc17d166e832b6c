"""Tags of entities: the schemes they are written in, and from tags to entities.

Heads use BIO: tag 0 is O, and type k has B at 2k + 1 and I at 2k + 2. Cells may use BILUO or BIOES, where the last word
of an entity and an entity of one word have tags of their own, or IO, where neighboring words with one type are one
entity.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from manyheads.heads.cells.cells import is_missing

OUTSIDE = 0
OUTSIDE_TAG = "O"

_TAG = re.compile(r"([BILUES])[-_](.+)", re.DOTALL)
# Which tags begin an entity in BIO: B, and U or S for entities of one word.
_BEGINS = frozenset("BUS")
# Prefixes of each scheme, the simplest first.
_SCHEMES = {"BIO": frozenset("BI"), "BILUO": frozenset("BILU"), "BIOES": frozenset("BIES")}


def bio_tags(types: Sequence[object]) -> tuple[str, ...]:
    """Return the names of the tags of some entity types, in the order of their numbers."""
    return ("O", *(f"{prefix}-{name}" for name in types for prefix in "BI"))


def scheme_of(tags: Sequence[object]) -> str | None:
    """Return the scheme of a list of tags: ``"BIO"``, ``"BILUO"`` or ``"BIOES"``; ``None`` for other labels.

    The last two are recognized only beside an ``O``: ``S-Bahn`` may be a label.
    """
    parts = [_TAG.fullmatch(tag) if isinstance(tag, str) else None for tag in tags if tag != OUTSIDE_TAG]
    prefixes = {part.group(1) for part in parts if part is not None}
    if not tags or None in parts:
        return None
    scheme = next((name for name, known in _SCHEMES.items() if prefixes <= known), None)
    return scheme if scheme == "BIO" or OUTSIDE_TAG in tags else None


def types_of(labels: Sequence[object]) -> list[object] | None:
    """Return the entity types that a list of tags names, in order of first appearance; ``None`` for no such list."""
    if scheme_of(labels) is None:
        return None
    found = (_TAG.fullmatch(str(label)) for label in labels)
    return list(dict.fromkeys(part.group(2) for part in found if part is not None))


def is_tag(label: object) -> bool:
    """Return whether a label is ``O``, or ``B-`` or ``I-`` and a type."""
    return isinstance(label, str) and (label == OUTSIDE_TAG or (label[:2] in ("B-", "I-") and len(label) > 2))


def as_bio(tags: Sequence[object], types: Sequence[object]) -> list[object]:
    """Return one text's tags of any scheme as BIO tags; what is no tag is returned as it is.

    Args:
        tags: One per word, missing ones as ``None``.
        types: The entity types.
    """
    names = {str(name) for name in types}
    found: list[object] = []
    before: str | None = None
    for tag in tags:
        part = _TAG.fullmatch(tag) if isinstance(tag, str) else None
        if isinstance(tag, str) and tag in names:
            found.append(f"{'I' if before == tag else 'B'}-{tag}")
            before = str(tag)
            continue
        before = None
        if part is None or is_missing(tag):
            found.append(tag)
        else:
            found.append(f"{'B' if part.group(1) in _BEGINS else 'I'}-{part.group(2)}")
    return found


def entity_types(tags: Sequence[object], types: Sequence[object]) -> list[object]:
    """Return the entity type of each tag that has one, in any scheme.

    Args:
        tags: Tags of words.
        types: The types that are known: a tag that is one of them is a type by itself (IO).
    """
    names = {str(name) for name in types}
    matches = [_TAG.fullmatch(tag) for tag in tags if isinstance(tag, str) and tag not in names]
    return [match.group(2) for match in matches if match is not None]


def entities(tags: np.ndarray) -> np.ndarray:
    """Return the entities of one text's tags (words,) as int64 (entities, 3): first word, word after the last, type.

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
