"""Tags of entities: the schemes they are written in, and from tags to entities.

Heads use BIO: tag 0 is O, and type k has B at 2k + 1 and I at 2k + 2. Cells may use BILUO, BIOES or BMES, where the
last word of an entity and an entity of one word have tags of their own, or IO, where neighboring words with one type
are one entity. Letters may stand before the type or after it: ``B-PER``, ``B_PER``, ``PER-B``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

OUTSIDE = 0
OUTSIDE_TAG = "O"

_TAG = re.compile(r"([BIMLUES])[-_/:](.+)", re.DOTALL)
_SUFFIXED = re.compile(r"(.+)[-_/:]([BIMLUES])", re.DOTALL)
_BARE = frozenset("BIMLUES")
# Which prefixes begin an entity whatever stands before, and which ones end it.
_BEGINS, _ENDS = frozenset("BUS"), frozenset("LEUS")
# Prefixes of each scheme, the simplest first.
_SCHEMES = {"BIO": frozenset("BI"), "BILUO": frozenset("BILU"), "BIOES": frozenset("BIES"), "BMES": frozenset("BMES")}


def bio_tags(types: Sequence[object]) -> tuple[str, ...]:
    """Return the names of the tags of some entity types, in the order of their numbers."""
    return ("O", *(f"{prefix}-{name}" for name in types for prefix in "BI"))


def scheme_of(tags: Sequence[object]) -> str | None:
    """Return the scheme of tags, ``"BIO"``, ``"BILUO"``, ``"BIOES"`` or ``"BMES"``; ``None`` for other labels.

    All but BIO are recognized only beside an ``O`` or a ``B-``, since ``S-Bahn`` may be a label. Tags that end in their
    letter (``PER-B``) are recognized beside an ``O``.
    """
    parts = _parts(tags)
    if not tags or parts is None:
        return None
    prefixes = {prefix for prefix, _ in parts}
    scheme = next((name for name, known in _SCHEMES.items() if prefixes <= known), None)
    return scheme if scheme == "BIO" or OUTSIDE_TAG in tags or "B" in prefixes else None


def types_of(labels: Sequence[object]) -> list[object] | None:
    """Return the entity types that a list of tags names, in order of first appearance; ``None`` for no such list."""
    parts = _parts(labels)
    return None if parts is None or scheme_of(labels) is None else list(dict.fromkeys(name for _, name in parts))


def has_bare_tags(tags: Sequence[object]) -> bool:
    """Return whether tags are letters of a scheme without types, such as ``B``, ``I`` and ``O``."""
    distinct = set(map(str, tags))
    return {"B", OUTSIDE_TAG} <= distinct and distinct - {OUTSIDE_TAG} <= _BARE


def _parts(tags: Sequence[object]) -> list[tuple[str, str]] | None:
    """Return the letter and the type of each tag but ``O``, or ``None`` if some tag does not have both."""
    named = [tag for tag in tags if tag != OUTSIDE_TAG]
    if not all(isinstance(tag, str) for tag in named):
        return None
    found = [_TAG.fullmatch(str(tag)) for tag in named]
    if None not in found:
        return [(match.group(1), match.group(2)) for match in found if match is not None]
    ends = [_SUFFIXED.fullmatch(str(tag)) for tag in named]
    if OUTSIDE_TAG not in tags or None in ends:
        return None
    return [(match.group(2), match.group(1)) for match in ends if match is not None]


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
    before: tuple[str, str] | None = None
    for tag in tags:
        part = _part(tag, names)
        found.append(tag if part is None else f"{'B' if _begins(part, before) else 'I'}-{part[1]}")
        before = part
    return found


def _part(tag: object, types: Collection[str]) -> tuple[str, str] | None:
    """Return the letter of a tag, which is empty in IO, and its type; ``None`` for anything else."""
    if not isinstance(tag, str) or tag == OUTSIDE_TAG:
        return None
    if tag in types:
        return "", str(tag)
    match = _TAG.fullmatch(tag)
    if match is not None:
        return match.group(1), match.group(2)
    match = _SUFFIXED.fullmatch(tag)
    return (match.group(2), match.group(1)) if match is not None and match.group(1) in types else None


def _begins(part: tuple[str, str], before: tuple[str, str] | None) -> bool:
    """Return whether a word begins an entity; BIO itself may leave an ``I`` at the start."""
    letter, name = part
    if not letter:
        return before is None or before[1] != name
    return letter in _BEGINS or (before is not None and before[0] in _ENDS)


def entity_types(tags: Sequence[object], types: Sequence[object]) -> list[object]:
    """Return the entity type of each tag that has one, in any scheme.

    Args:
        tags: Tags of words.
        types: The types that are known: a tag that is one of them is a type by itself (IO).
    """
    names = {str(name) for name in types}
    parts = (_part(tag, names) for tag in tags)
    return [name for letter, name in (part for part in parts if part is not None) if letter]


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
