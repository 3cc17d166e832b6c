"""Log the metrics of each epoch by head name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import transformers

from manyheads.training.tuning.trainer import Trainer


class EpochLog(transformers.TrainerCallback):  # type: ignore[misc]
    """Logs each record of a history as ``eval_head.metric``; it is called after the history is written.

    Args:
        trainer: Logs them.
        history: Head name -> one record per epoch, which grows during training.
    """

    def __init__(self, trainer: Trainer, history: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
        self._trainer, self._history = trainer, history
        self._logged = {name: len(records) for name, records in history.items()}

    def on_train_begin(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Log the metrics before training."""
        self._log(control)

    def on_epoch_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Log the metrics after an epoch."""
        self._log(control)

    def _log(self, control: transformers.TrainerControl) -> None:
        new = {name: records[self._logged[name] :] for name, records in self._history.items()}
        self._logged = {name: len(records) for name, records in self._history.items()}
        values = {
            f"eval_{name}.{metric}": value
            for name, records in new.items()
            for record in records
            for metric, value in record.items()
            if metric != "epoch" and math.isfinite(value)
        }
        if values:
            should_log = control.should_log  # logging clears the request for the training loss
            self._trainer.log(values)
            control.should_log = should_log
