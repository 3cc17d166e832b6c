"""Apply heads to stored features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from manyheads.backbone.stack.probe import evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import plan_batches
from manyheads.features import FeatureTable
from manyheads.features.logits import LogitRows, Logits
from manyheads.heads import Head
from manyheads.taps import Tap

# Numbers of one head's input that are held at once.
_HELD_VALUES = 1 << 27


def apply_heads(
    core: HeadedCore,
    tables: Mapping[Tap, FeatureTable],
    heads: Mapping[str, Head],
    rows: np.ndarray,
    lengths: np.ndarray,
) -> dict[str, Logits]:
    """Return the heads' fp32 logits on stored features, in eval mode.

    Heads that read pooled features take all rows at once; where a head reads tokens, rows go in padded batches.

    Args:
        core: Whose heads they are.
        tables: Features by tap of the backbone, for the heads and for those that they read.
        heads: The heads, by name.
        rows: Which rows of the tables.
        lengths: Tokens of each row of the tables.
    """
    by_tokens = {name for name in heads if any(tables[tap].by_token for tap in core.heads.taps_of([name]))}
    pooled = [name for name in heads if name not in by_tokens]
    logits: dict[str, Logits] = dict(_in_blocks(core, tables, pooled, rows))
    if by_tokens:
        logits |= _in_batches(core, tables, sorted(by_tokens), rows, lengths)
    return {name: logits[name] for name in heads}


def _in_blocks(
    core: HeadedCore, tables: Mapping[Tap, FeatureTable], names: Sequence[str], rows: np.ndarray
) -> dict[str, np.ndarray]:
    """Take as many rows at once as a head's input allows, which may be a whole vocabulary wide."""
    widest = max((head.width for head in core.heads.with_dependencies(names).values()), default=1)
    size = max(1, _HELD_VALUES // widest)
    parts = [_logits(core, tables, names, rows[start : start + size])[0] for start in range(0, max(len(rows), 1), size)]
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in names}


def _in_batches(
    core: HeadedCore, tables: Mapping[Tap, FeatureTable], names: Sequence[str], rows: np.ndarray, lengths: np.ndarray
) -> dict[str, Logits]:
    found = LogitRows({name: core.heads[name].spec for name in names}, len(rows))
    for places in plan_batches(lengths[rows]):
        found.put(places, *_logits(core, tables, names, rows[places]))
    return found.logits()


def _logits(
    core: HeadedCore, tables: Mapping[Tap, FeatureTable], names: Sequence[str], rows: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return logits, and how many words each row has, where a head reads words."""
    if not names:
        return {}, None
    device = core.backbone.device
    taps = core.heads.taps_of(names)
    with evaluating(core.heads):
        read = {tap: tables[tap].take(rows).to(device) for tap in taps}
        logits = {name: values.cpu().numpy() for name, values in core.heads(read, names).items()}
    masks = [features.mask for tap, features in read.items() if tap.by_word]
    return logits, None if not masks or masks[0] is None else masks[0].sum(dim=1).cpu().numpy()
