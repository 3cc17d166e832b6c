"""The feature pass: texts through the backbone once, in eval mode, for all taps together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from manyheads.backbone.stack.probe import evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import Batches
from manyheads.data.texts.tokenize import Tokenized
from manyheads.runtime.progress import progress_bar
from manyheads.taps import BackboneTap
from manyheads.types import Features

Receive = Callable[[np.ndarray, Mapping[BackboneTap, Features]], None]


def run_pass(
    core: HeadedCore, tokenized: Tokenized, rows: np.ndarray, taps: Sequence[BackboneTap], receive: Receive
) -> None:
    """Run the backbone over rows, one forward per batch of rows of like length.

    How many tokens a batch holds is measured in a long pass and then kept with the backbone, so that the same rows
    meet the same batches ever after.

    Args:
        core: The core, which is in eval mode during the pass.
        tokenized: All rows.
        rows: Those to run, all different.
        taps: Resolved taps.
        receive: Called with each batch's rows and its features by tap, on the CPU.
    """
    lengths = tokenized.lengths[rows]
    batches = Batches(lengths, core.backbone.token_budget)
    with evaluating(core), progress_bar("Reading texts", int(lengths.sum()), "tokens") as advance:
        for places in batches:
            started = time.perf_counter()
            read, _ = core.read(tokenized.batch(rows[places]).to(core.backbone.device), taps)
            receive(rows[places], {tap: features.cpu() for tap, features in read.items()})
            batches.took(time.perf_counter() - started)
            advance(int(lengths[places].sum()))
    core.backbone.use_token_budget(batches.measured)
