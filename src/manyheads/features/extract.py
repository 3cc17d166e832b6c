"""The feature pass: every text through the backbone once, in eval mode, for all taps together."""

from __future__ import annotations

from collections.abc import Iterable

from manyheads.backbone.stack import evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import plan_batches
from manyheads.data.tokens import Tokenized
from manyheads.features.table import FeatureTable, table_for
from manyheads.progress import progress_bar
from manyheads.taps import Tap


def extract_features(core: HeadedCore, tokenized: Tokenized, taps: Iterable[Tap]) -> dict[Tap, FeatureTable]:
    """Compute features, one backbone forward per batch of rows of like length.

    Args:
        core: Whose backbone runs; its mode is eval meanwhile, and what it was afterwards.
        tokenized: The rows.
        taps: Resolved taps.

    Returns:
        One table per tap, rows in the order given.
    """
    taps = list(dict.fromkeys(taps))
    lengths = tokenized.lengths
    tables: dict[Tap, FeatureTable] = {}
    with evaluating(core), progress_bar("Reading texts", int(lengths.sum()), "tokens") as advance:
        for rows in plan_batches(lengths):
            read, _ = core.read(tokenized.batch(rows).to(core.backbone.device), taps)
            for tap, features in read.items():
                if tap not in tables:
                    tables[tap] = table_for(features, lengths)
                tables[tap].put(rows, features)
            advance(int(lengths[rows].sum()))
    return tables
