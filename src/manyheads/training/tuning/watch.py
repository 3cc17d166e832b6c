"""Something that watches a tuning run and may end it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import transformers

from manyheads.heads import Logits


class StoppedRunError(Exception):
    """Raised by a watch to end a run; the message tells why."""


class Watch(ABC):
    """Watches a tuning run, and may end it by raising ``StoppedRunError``."""

    @abstractmethod
    def after_step(self, done: int, steps: int) -> None:
        """Called after each step.

        Args:
            done: Number of steps so far.
            steps: Number of all steps.
        """

    @abstractmethod
    def after_epoch(self, done: float, logits_of: Callable[[float], Mapping[str, Logits]]) -> None:
        """Called after each epoch but the last.

        Args:
            done: Share of the run's steps so far.
            logits_of: Returns the logits of the evaluation rows for a share of the tuned weights.
        """


class WatchedRun(transformers.TrainerCallback):  # type: ignore[misc]
    """Passes steps and epochs on to a watch.

    Args:
        watch: The watch.
        logits_of: As in ``Watch.after_epoch``.
    """

    def __init__(self, watch: Watch, logits_of: Callable[[float], Mapping[str, Logits]]) -> None:
        self._watch, self._logits_of = watch, logits_of

    def on_step_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Pass a step on."""
        self._watch.after_step(state.global_step, state.max_steps)

    def on_epoch_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Pass an epoch on, unless the run ends with it."""
        if state.global_step < state.max_steps:
            self._watch.after_epoch(state.global_step / state.max_steps, self._logits_of)
