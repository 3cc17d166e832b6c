"""Watching a tuned model learn: metrics of every head after each epoch, which epoch was the best, and when to stop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from manyheads.errors import MethodError, UnknownHeadError, listed
from manyheads.evaluation.metrics import Metrics, measure
from manyheads.heads import Head, Logits
from manyheads.runtime.processes import from_first
from manyheads.training.dataset import TrainingData
from manyheads.training.resuming.trainer_state import CheckpointedCallback

MEAN = "mean"

# In a checkpoint: what was measured, and the best epoch's weights.
_HISTORY, _BEST = "watch.json", "best.safetensors"


@dataclass(frozen=True)
class Selection:
    """By what one epoch is better than another.

    Attributes:
        weights: Head name -> weight of its main metric (accuracy, micro F1, quadratic kappa or R squared).
        patience: Epochs without a better one after which to stop; ``None`` for never.
    """

    weights: Mapping[str, float]
    patience: int | None

    def score(self, metrics: Mapping[str, Metrics], heads: Mapping[str, Head]) -> float:
        """Return the weighted mean of the heads' main metrics; minus infinity where one is undefined."""
        values = [(weight, metrics[name].get(heads[name].spec.main_metric)) for name, weight in self.weights.items()]
        if any(value is None or math.isnan(value) for _, value in values):
            return -math.inf
        return sum(weight * value for weight, value in values if value is not None) / sum(self.weights.values())


def selection_of(
    best_by: str | Mapping[str, float] | None, patience: int | None, heads: Mapping[str, Head], data: TrainingData
) -> Selection | None:
    """Return the selection of a method's settings, or ``None`` to keep the last epoch.

    Raises:
        UnknownHeadError: a head that is not being trained.
        MethodError: a head has no labelled evaluation row.
    """
    if best_by is None and patience is None:
        return None
    if isinstance(best_by, Mapping):
        weights = {name: float(weight) for name, weight in best_by.items()}
    elif best_by is None or (best_by == MEAN and MEAN not in heads):
        weights = dict.fromkeys(heads, 1.0)
    else:
        weights = {best_by: 1.0}
    for name in weights:
        if name not in heads:
            raise UnknownHeadError(f"best_by: no head {name!r} is being trained; the heads: {listed(heads)}")
        if not data.targets[name].labelled[data.evaluate].any():
            raise MethodError(
                f"best_by: no evaluation row is labelled for head {name!r}; give eval_data or eval_fraction"
            )
    return Selection(weights, patience)


@dataclass(frozen=True)
class _Best:
    """The best epoch so far: its score, number, weights and logits."""

    score: float
    epoch: float
    place: int
    weights: list[Tensor]
    logits: dict[str, Logits]


class EpochEvaluator(CheckpointedCallback):
    """Measures after each epoch, and keeps the best one's weights if it is to select.

    A checkpoint that falls on the end of an epoch is written once that has been measured.

    Args:
        heads: Those that train.
        data: Whose evaluation rows.
        evaluate: Returns their logits with the current weights.
        tuned: Everything that trains.
        selection: By what an epoch is the best, or ``None``.

    Attributes:
        history: Head name -> one record per epoch.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        data: TrainingData,
        evaluate: Callable[[], dict[str, Logits]],
        tuned: Sequence[nn.Parameter],
        selection: Selection | None,
    ) -> None:
        self.history: dict[str, list[dict[str, float]]] = {name: [] for name in heads}
        self._heads, self._data, self._evaluate = heads, data, evaluate
        self._tuned, self._selection = tuned, selection
        self._best: _Best | None = None
        self._logits: dict[str, Logits] | None = None
        self._step = -1
        self._owed = False

    def on_step_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Put off a checkpoint at the end of an epoch."""
        if control.should_save and (control.should_training_stop or float(state.epoch or 0).is_integer()):
            control.should_save, self._owed = False, True

    def on_epoch_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Measure, remember, and stop where nothing has become better for too long."""
        if len(self._data.evaluate):
            self._measure(state, control)
        self.ended = control.should_training_stop
        if self._owed:
            control.should_save, self._owed = True, False

    def _measure(self, state: transformers.TrainerState, control: transformers.TrainerControl) -> None:
        self._logits, self._step = self._evaluate(), state.global_step
        metrics = self._measured(self._logits)
        epoch = float(state.epoch or 0)
        for name, values in metrics.items():
            self.history[name].append({"epoch": epoch, **values})
        if self._selection is None:
            return
        # Processes must stop together, and their last bits may differ.
        place, score = self._place(), from_first(self._selection.score(metrics, self._heads))
        if self._best is None or score > self._best.score:
            weights = [parameter.detach().clone() for parameter in self._tuned]
            self._best = _Best(score, epoch, place, weights, self._logits)
        patience = self._selection.patience
        if patience is not None and place - self._best.place >= patience:
            control.should_training_stop = True

    @property
    def best_epoch(self) -> float | None:
        """The best epoch so far, if one is to be selected."""
        return None if self._best is None else self._best.epoch

    def save_state(self, folder: Path) -> None:
        """Write the history, and the best epoch, to a checkpoint."""
        best = self._best
        found = None if best is None else {"score": best.score, "epoch": best.epoch, "place": best.place}
        kept = {"history": self.history, "ended": self.ended, "best": found}
        (folder / _HISTORY).write_text(json.dumps(kept), encoding="utf-8")
        if best is not None:
            weights = {f"weight.{place}": tensor.contiguous() for place, tensor in enumerate(best.weights)}
            logits = {
                f"{part}.{name}": tensor
                for name, values in best.logits.items()
                for part, tensor in values.tensors().items()
            }
            save_file({**weights, **logits}, folder / _BEST)

    def load_state(self, folder: Path) -> None:
        """Go on from what a checkpoint holds."""
        kept = json.loads((folder / _HISTORY).read_text(encoding="utf-8"))
        self.history, self.ended = kept["history"], kept["ended"]
        if kept["best"] is not None:
            found = load_file(folder / _BEST)
            weights = [found[f"weight.{place}"].to(of.device) for place, of in enumerate(self._tuned)]
            logits = {
                name: head.spec.logits_type.from_tensors(
                    {key.partition(".")[0]: tensor for key, tensor in found.items() if key.partition(".")[2] == name}
                )
                for name, head in self._heads.items()
            }
            self._best = _Best(**kept["best"], weights=weights, logits=logits)

    def finish(self, step: int) -> dict[str, Logits] | None:
        """Load the weights of the best epoch, if there is a selection. Return the logits of the current weights, or
        ``None`` if they are unknown.

        Args:
            step: At which training ended.
        """
        if self._best is None:
            return self._logits if self._step == step else None
        with torch.no_grad():
            for parameter, value in zip(self._tuned, self._best.weights, strict=True):
                parameter.copy_(value)
        return self._best.logits

    def _measured(self, logits: Mapping[str, Logits]) -> dict[str, Metrics]:
        rows = self._data.evaluate
        return {
            name: measure(self._heads[name].spec, self._data.targets[name].take(rows).values, values.values)
            for name, values in logits.items()
        }

    def _place(self) -> int:
        """Return the number of epochs measured."""
        return max(len(records) for records in self.history.values())
