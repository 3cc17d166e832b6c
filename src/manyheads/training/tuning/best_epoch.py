"""Evaluate every head before training and after each epoch, keep the best epoch, and stop early."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from manyheads.evaluation.metrics import Metrics, measure
from manyheads.heads import Head, Logits
from manyheads.runtime.processes import from_first
from manyheads.runtime.progress import log_step
from manyheads.training.dataset import TrainingData
from manyheads.training.resuming.trainer_state import CheckpointedCallback
from manyheads.training.solving.best_weights import BestWeights
from manyheads.training.tuning.selection import Selection

# Files of a checkpoint: the metrics of all epochs, and the best epoch's weights and logits.
_HISTORY, _BEST = "epochs.json", "best.safetensors"


class EpochEvaluator(CheckpointedCallback):
    """Evaluates the heads after each epoch, and keeps the best epoch's weights if there is a selection.

    Heads that were solved on the frozen backbone are evaluated as epoch 0 before the first step: tuning that does not
    improve them is pointed out, and a selection may keep them as they were.

    A checkpoint at the end of an epoch is written after the evaluation.

    Args:
        heads: The heads that train.
        data: Contains the evaluation rows.
        evaluate: Returns the logits of some rows with the current weights.
        trained: All parameters that train.
        selection: How epochs are compared, or ``None``.
        solved: Whether the heads were solved on the frozen backbone.

    Attributes:
        history: Head name -> one record per epoch, 0 among them for solved heads.
        best_epoch: The best epoch so far, if there is a selection.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        data: TrainingData,
        evaluate: Callable[[np.ndarray], dict[str, Logits]],
        trained: Sequence[nn.Parameter],
        selection: Selection | None,
        solved: bool = False,
    ) -> None:
        self.history: dict[str, list[dict[str, float]]] = {name: [] for name in heads}
        self.best_epoch: float | None = None
        self._heads, self._data, self._evaluate, self._selection = heads, data, evaluate, selection
        self._solved = solved
        self._best = BestWeights(trained)
        self._best_logits: dict[str, Logits] = {}
        self._logits: dict[str, Logits] | None = None
        self._evaluated_step = -1
        self._save_after_evaluation = False

    def on_train_begin(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Evaluate solved heads as epoch 0; a resumed run has done so before."""
        if self._solved and len(self._data.evaluate) and state.global_step == 0:
            self._record(state, control)

    def on_step_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Postpone a checkpoint at the end of an epoch."""
        if control.should_save and (control.should_training_stop or float(state.epoch or 0).is_integer()):
            control.should_save, self._save_after_evaluation = False, True

    def on_epoch_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Evaluate; stop after too many epochs without improvement; write the postponed checkpoint."""
        if not len(self._data.evaluate):
            log_step(f"Epoch {float(state.epoch or 0):g}: done")
        else:
            self._record(state, control)
        self.ended = control.should_training_stop
        if self._save_after_evaluation:
            control.should_save, self._save_after_evaluation = True, False

    def finish(self, step: int) -> dict[str, Logits] | None:
        """Restore the best epoch's weights if there is a selection; return the logits of the weights then in place, if
        they are known.

        Args:
            step: The last step of the training.
        """
        if self.best_epoch is None:
            return self._logits if self._evaluated_step == step else None
        self._best.restore()
        return self._best_logits

    def notes(self, logits: Mapping[str, Logits]) -> list[str]:
        """Return a sentence for each head that tuning did not improve.

        Args:
            logits: Of the evaluation rows, with the final weights.
        """
        if self.best_epoch == 0:
            return ["No epoch was better than the heads solved before tuning, so the model is as they were solved."]
        found = []
        for name, metrics in self._metrics_of(logits).items() if len(self._data.evaluate) else ():
            metric = self._heads[name].spec.main_metric
            before = next((record.get(metric) for record in self.history[name] if record["epoch"] == 0), None)
            after = metrics.get(metric, math.nan)
            if before is not None and before < 1 and after <= before:
                found.append(
                    f"Head {name!r}: {metric} {after:.3f} after tuning is not above the {before:.3f} of the head "
                    "solved before it; keep the better epoch with best_by='mean', or train with Frozen."
                )
        return found

    def save_state(self, folder: Path) -> None:
        """Write the history and the best epoch to a checkpoint."""
        best = None
        if self.best_epoch is not None:
            best = {"score": self._best.score, "epoch": self.best_epoch, "number": self._best.epoch}
        state = {"history": self.history, "ended": self.ended, "best": best}
        (folder / _HISTORY).write_text(json.dumps(state), encoding="utf-8")
        if best is not None:
            logits = {
                f"{part}.{name}": tensor
                for name, values in self._best_logits.items()
                for part, tensor in values.tensors().items()
            }
            save_file({**self._best.tensors(), **logits}, folder / _BEST)

    def load_state(self, folder: Path) -> None:
        """Read the history and the best epoch from a checkpoint."""
        state = json.loads((folder / _HISTORY).read_text(encoding="utf-8"))
        self.history, self.ended = state["history"], state["ended"]
        best = state["best"]
        if best is None:
            return
        tensors = load_file(folder / _BEST)
        self.best_epoch = best["epoch"]
        self._best.load(best["number"], best["score"], tensors)
        self._best_logits = {
            name: head.spec.logits_type.from_tensors(
                {key.partition(".")[0]: tensor for key, tensor in tensors.items() if key.partition(".")[2] == name}
            )
            for name, head in self._heads.items()
        }

    def _record(self, state: transformers.TrainerState, control: transformers.TrainerControl) -> None:
        metrics = self._measure(state)
        if self._selection is not None:
            self._select(self._selection, metrics, float(state.epoch or 0), control)

    def _measure(self, state: transformers.TrainerState) -> dict[str, Metrics]:
        """Evaluate the heads and add their metrics to the history."""
        self._logits, self._evaluated_step = self._evaluate(self._data.evaluate), state.global_step
        metrics = self._metrics_of(self._logits)
        for name, values in metrics.items():
            self.history[name].append({"epoch": float(state.epoch or 0), **values})
            shown = ", ".join(f"{key} {value:.3f}" for key, value in values.items() if key != "rows")
            log_step(f"Epoch {float(state.epoch or 0):g}: {name}: {shown}")
        return metrics

    def _metrics_of(self, logits: Mapping[str, Logits]) -> dict[str, Metrics]:
        """Return the metrics of logits of the evaluation rows."""
        rows = self._data.evaluate
        found = {}
        for name, values in logits.items():
            head, targets = self._heads[name], self._data.targets[name].take(rows)
            found[name] = measure(head.spec, targets.values, values.values, head.decision)
        return found

    def _select(
        self,
        selection: Selection,
        metrics: Mapping[str, Metrics],
        epoch: float,
        control: transformers.TrainerControl,
    ) -> None:
        """Keep the weights if this epoch is the best, and stop the training after too many worse ones."""
        assert self._logits is not None
        number = max(len(records) for records in self.history.values())
        # Processes must stop together, and the last bits of their scores may differ.
        score = from_first(selection.score(metrics, self._heads))
        if self._best.update(number, score):
            self.best_epoch, self._best_logits = epoch, self._logits
        if selection.patience is not None and self._best.is_stale(number, selection.patience):
            control.should_training_stop = True
