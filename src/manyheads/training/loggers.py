"""Send the numbers of a training to the loggers of transformers: TensorBoard, Weights & Biases, Trackio and others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import transformers
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from manyheads.errors import MethodError, MissingExtraError, one_line
from manyheads.training.result import TrainResult


class Loggers:
    """Loggers of one training.

    Args:
        report_to: Their names in transformers, such as ``"tensorboard"``.

    Raises:
        MethodError: an unknown name.
        MissingExtraError: a package that a logger needs is not installed.
    """

    def __init__(self, report_to: str | Sequence[str]) -> None:
        names = [report_to] if isinstance(report_to, str) else list(report_to)
        try:
            callbacks = [callback() for callback in get_reporting_integration_callbacks(names)]
            self._arguments = transformers.TrainingArguments(output_dir=".", report_to=names)
        except ValueError as error:
            raise MethodError(f"report_to={report_to!r}: {one_line(error)}") from None
        except (ImportError, RuntimeError) as error:
            raise MissingExtraError(f"report_to={report_to!r}: {one_line(error)}") from None
        model: Any = None
        self._handler = CallbackHandler([DefaultFlowCallback(), *callbacks], model, None, None, None)

    def report(self, result: TrainResult) -> None:
        """Send one record, and end the run of every logger that has runs of its own."""
        arguments, control = self._arguments, transformers.TrainerControl()
        state = transformers.TrainerState(global_step=_steps(result))
        self._handler.on_train_begin(arguments, state, control)
        self._handler.on_log(arguments, state, control, record_of(result))
        self._handler.on_train_end(arguments, state, control)


def record_of(result: TrainResult) -> dict[str, float]:
    """Return the finite numbers of a training: metrics as ``eval_head.metric``, chosen settings as ``head.setting``."""
    record: dict[str, float] = {"train_runtime": result.seconds}
    for head, metrics in result.metrics.items():
        record |= {f"eval_{head}.{name}": value for name, value in metrics.items()}
        record |= {f"{head}.{name}": value for name, value in result.chosen[head].items()}
        record[f"{head}.training_rows"] = result.rows[head]["train"]
    return {name: value for name, value in record.items() if math.isfinite(value)}


def _steps(result: TrainResult) -> int:
    """Return the number of optimizer steps; 0 for a method without steps."""
    return int(max((settings.get("steps", 0) for settings in result.chosen.values()), default=0))
