"""Train a method to measure it, and leave the model as it was before."""

from __future__ import annotations

from collections.abc import Mapping

from manyheads.core import HeadedCore
from manyheads.heads import Head, Logits
from manyheads.training.auto.run_watch import RunWatch
from manyheads.training.dataset import TrainingData
from manyheads.training.meanwhile import trained_meanwhile
from manyheads.training.method import Method, Outcome
from manyheads.training.tuning.method import Tuning


def logits_after(
    method: Method, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, watch: RunWatch
) -> Mapping[str, Logits]:
    """Return the logits of the evaluation rows after training with a method, each head's over its temperature, as its
    scores are computed; the model is then as before.

    Args:
        method: The method.
        core: The backbone and all heads.
        heads: The heads to train.
        data: Training rows, and comparison rows as its evaluation rows.
        watch: Watches the run of a method that trains by steps.

    Raises:
        StoppedRunError: the watch ended the run.
    """
    if isinstance(method, Tuning):
        from manyheads.training.tuning.run import try_out  # imports transformers' Trainer, which is slow

        return _calibrated(try_out(method, core, heads, data, watch))
    with trained_meanwhile(method, core, heads, data) as outcome:
        return _calibrated(outcome)


def _calibrated(outcome: Outcome) -> dict[str, Logits]:
    fits = {name: outcome.fits[name].temperature for name in outcome.logits}
    return {
        name: logits if (fit := fits[name]) is None else logits.scaled(1 / fit.temperature)
        for name, logits in outcome.logits.items()
    }
