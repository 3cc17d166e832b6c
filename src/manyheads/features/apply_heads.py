"""Apply heads to stored features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from manyheads.backbone.stack.probe import evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import plan_batches
from manyheads.data.texts.tokenize import Tokenized
from manyheads.features import FeatureTable
from manyheads.features.logits import empty_logits
from manyheads.heads import Head
from manyheads.heads.logits import Logits
from manyheads.taps import Tap

# Maximum number of input values in memory.
_HELD_VALUES = 1 << 27


def apply_heads(
    core: HeadedCore,
    tables: Mapping[Tap, FeatureTable],
    heads: Mapping[str, Head],
    rows: np.ndarray,
    tokenized: Tokenized,
) -> dict[str, Logits]:
    """Return the heads' fp32 logits on stored features, in eval mode.

    Heads on pooled features run on all rows together, heads on tokens on padded batches.

    Args:
        core: The core that the heads belong to.
        tables: Features by tap of the backbone, for the heads and for the heads whose output they read.
        heads: The heads, by name.
        rows: Row numbers in the tables.
        tokenized: The texts of the tables.
    """
    logits = empty_logits(heads, tokenized, rows)
    by_tokens = {name for name in heads if any(tables[tap].by_token for tap in core.heads.taps_of([name]))}
    pooled = [name for name in heads if name not in by_tokens]
    for batch in _blocks(core, pooled, len(rows)):
        _put(core, tables, pooled, rows, batch, logits)
    for batch in plan_batches(tokenized.lengths[rows]) if by_tokens else []:
        _put(core, tables, sorted(by_tokens), rows, batch, logits)
    return logits


def _blocks(core: HeadedCore, names: Sequence[str], count: int) -> Iterator[np.ndarray]:
    """Yield blocks of rows, as large as the widest input allows."""
    widest = max((head.width for head in core.heads.with_dependencies(names).values()), default=1)
    size = max(1, _HELD_VALUES // widest)
    for start in range(0, count if names else 0, size):
        yield np.arange(start, min(start + size, count))


def _put(
    core: HeadedCore,
    tables: Mapping[Tap, FeatureTable],
    names: Sequence[str],
    rows: np.ndarray,
    batch: np.ndarray,
    logits: Mapping[str, Logits],
) -> None:
    with evaluating(core.heads):
        read = {tap: tables[tap].take(rows[batch]).to(core.backbone.device) for tap in core.heads.taps_of(names)}
        for name, values in core.heads(read, names).items():
            logits[name].put(batch, values.cpu().numpy())
