"""The feature pass: texts through the backbone once, in eval mode, for all taps together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from manyheads.backbone.row_groups import not_finite
from manyheads.backbone.stack.probe import evaluating
from manyheads.core import HeadedCore
from manyheads.data.batching import Batches
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import BackboneError
from manyheads.runtime.progress import progress_bar
from manyheads.taps import BackboneTap
from manyheads.types import Features

Receive = Callable[[np.ndarray, Mapping[BackboneTap, Features]], None]
Pause = Callable[[], None]


def go_on() -> None:
    """Go on with the next batch at once."""


def run_pass(
    core: HeadedCore,
    tokenized: Tokenized,
    rows: np.ndarray,
    taps: Sequence[BackboneTap],
    receive: Receive,
    batch_tokens: int | None = None,
    pause: Pause = go_on,
) -> None:
    """Run the backbone over rows, one forward per batch of rows of like length.

    How many tokens a batch holds is measured in a long pass, unless it is given, and then kept with the backbone, so
    that the same rows meet the same batches ever after.

    Args:
        core: The core, which is in eval mode during the pass.
        tokenized: All rows.
        rows: Those to run, all different.
        taps: Resolved taps.
        receive: Called with each batch's rows and its features by tap, on the CPU.
        batch_tokens: Tokens per batch, padding included; ``None`` for the fastest number.
        pause: Called before each batch; an error that it raises stops the pass.
    """
    lengths = tokenized.lengths[rows]
    batches = Batches(lengths, core.backbone.token_budget if batch_tokens is None else batch_tokens)
    with evaluating(core), progress_bar("Reading texts", int(lengths.sum()), "tokens") as advance:
        for places in batches:
            pause()
            started = time.perf_counter()
            read, _ = core.read(tokenized.batch(rows[places]).to(core.backbone.device), taps)
            check_finite(core, rows[places], read)
            receive(rows[places], {tap: features.cpu() for tap, features in read.items()})
            batches.took(time.perf_counter() - started)
            advance(int(lengths[places].sum()))
    if batch_tokens is None:
        core.backbone.use_token_budget(batches.measured)


def check_finite(core: HeadedCore, rows: np.ndarray, read: Mapping[BackboneTap, Features]) -> None:
    """Check the features of a batch.

    Args:
        core: The core that computed them.
        rows: The number of each text, from 0.
        read: Its features by tap.

    Raises:
        BackboneError: some are NaN or infinite.
    """
    for tap, features in read.items():
        if not features.values.is_floating_point():
            continue
        finite = torch.isfinite(features.values).flatten(1) if features.mask is None else _finite_tokens(features)
        if not bool(finite.all()):
            row = int(rows[int(torch.nonzero(~finite)[0, 0])]) + 1
            dtype = next(core.backbone.stack.parameters()).dtype
            raise BackboneError(not_finite(core.backbone.name, f"features of {tap} (text {row})", dtype))


def _finite_tokens(features: Features) -> Tensor:
    """Return (rows, tokens) booleans: whether a token's features are finite; padding counts as finite."""
    assert features.mask is not None
    finite: Tensor = torch.isfinite(features.values).flatten(2).all(dim=2) | ~features.mask
    return finite
