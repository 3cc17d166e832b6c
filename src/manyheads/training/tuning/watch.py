"""Something that watches a tuning run and may end it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import transformers

from manyheads.heads import Logits
from manyheads.training.tuning.step_module import Collate


class StoppedRunError(Exception):
    """Raised by a watch to end a run; the message tells why."""


class Watch(ABC):
    """Watches a tuning run, and may end it by raising ``StoppedRunError``."""

    @abstractmethod
    def after_step(self, steps: int, share: float) -> None:
        """Called after each step.

        Args:
            steps: Number of steps so far.
            share: The tokens of these steps as a share of those of the whole run. Rows of similar length are in one
                step, so that steps take different times.
        """

    @abstractmethod
    def after_epoch(self, done: float, logits_of: Callable[[float], Mapping[str, Logits]]) -> None:
        """Called after each epoch but the last.

        Args:
            done: Share of the run's steps so far.
            logits_of: Returns the logits of the evaluation rows for a share of the tuned weights.
        """


class CountingCollate:
    """Collates as another function does, and counts the tokens of each batch.

    Attributes:
        tokens: Number of tokens of each batch so far, without padding; the loader may be a batch ahead of the run.
    """

    def __init__(self, collate: Collate) -> None:
        self.tokens: list[int] = []
        self._collate = collate

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch."""
        self.tokens.append(sum(len(example["input_ids"]) for example in examples))
        return self._collate(examples)


class WatchedRun(transformers.TrainerCallback):  # type: ignore[misc]
    """Passes steps and epochs on to a watch.

    Args:
        watch: The watch.
        collate: Collates the batches of the run.
        epoch_tokens: Tokens of all training rows.
        logits_of: As in ``Watch.after_epoch``.
    """

    def __init__(
        self,
        watch: Watch,
        collate: CountingCollate,
        epoch_tokens: int,
        logits_of: Callable[[float], Mapping[str, Logits]],
    ) -> None:
        self._watch, self._collate, self._epoch_tokens, self._logits_of = watch, collate, epoch_tokens, logits_of

    def on_step_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Pass a step on."""
        tokens = sum(self._collate.tokens[: state.global_step])
        self._watch.after_step(state.global_step, tokens / (self._epoch_tokens * args.num_train_epochs))

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
