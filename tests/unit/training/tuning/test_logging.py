"""What the loggers of transformers receive: per-head losses and metrics by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import transformers
from transformers.integrations import integration_utils

import manyheads as mh
from tests.families import TEXTS

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

Saved = Callable[[str], Path]
Logs = dict[str, float]
ROWS = [
    {"note": text, "urgency": ["low", "high"][place % 2], "age": place if place % 3 else None}
    for place, text in enumerate(TEXTS * 2)
]
LM = "lm.loss"


class Recording(transformers.TrainerCallback):
    """A logger that keeps what it receives."""

    records: ClassVar[list[tuple[int, Logs]]] = []
    calls: ClassVar[list[str]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.calls.append("begin")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.records.append((state.global_step, dict(logs)))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.calls.append("end")


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> type[Recording]:
    """Name the logger in transformers' own table, as ``"recording"``."""
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "recording", Recording)
    monkeypatch.setattr(Recording, "records", [])
    monkeypatch.setattr(Recording, "calls", [])
    return Recording


def headed(saved: Saved) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    model.add_head("age", mh.Regression(loss_weight=0.5))
    return model


def arguments(folder: Path, **settings: Any) -> transformers.TrainingArguments:
    given = {"logging_steps": 1, "num_train_epochs": 2, "per_device_train_batch_size": 6, **settings}
    return transformers.TrainingArguments(
        str(folder), report_to="recording", use_cpu=True, disable_tqdm=True, save_strategy="no", **given
    )


METHODS: list[tuple[type[Any], Logs]] = [(mh.Fork, {"top": 1}), (mh.LoRA, {"r": 2}), (mh.Full, {"lm_weight": 0.1})]


@pytest.mark.parametrize(("method", "settings"), METHODS, ids=["Fork", "LoRA", "Full"])
def test_each_step_has_the_losses_of_the_heads_and_each_epoch_their_metrics(
    recording: type[Recording], saved: Saved, tmp_path: Path, method: type[Any], settings: Logs
) -> None:
    trainer = arguments(tmp_path, gradient_accumulation_steps=2)
    chosen = method(trainer=trainer, held_out=0, **settings)
    result = mh.train(headed(saved), ROWS, text="note", method=chosen, eval_fraction=0.25)
    steps = [logs for _, logs in recording.records if "loss" in logs]
    heads = {"urgency.loss", "age.loss"} | ({LM} if method is mh.Full else set())
    assert len(steps) == 4
    for logs in steps:
        assert {name for name in logs if name.endswith(".loss")} == heads
        assert logs["loss"] == pytest.approx(sum(logs[name] for name in heads), rel=1e-5)
    epochs = [logs for _, logs in recording.records if "eval_urgency.accuracy" in logs]
    for head, metric in (("urgency", "accuracy"), ("age", "mean_absolute_error")):
        history = [record[metric] for record in result.history[head]]
        assert [logs[f"eval_{head}.{metric}"] for logs in epochs] == history
    assert len(epochs) == 3, "before training, and after each of two epochs"
    assert recording.calls == ["begin", "end"]


def test_losses_are_means_over_the_steps_between_two_logs(
    recording: type[Recording], saved: Saved, tmp_path: Path
) -> None:
    for every in (1, 3):
        method = mh.Full(trainer=arguments(tmp_path, logging_steps=every), held_out=0, start="random")
        mh.train(headed(saved), ROWS[:18], text="note", method=method, eval_fraction=0)
    losses = [logs["urgency.loss"] for _, logs in recording.records if "loss" in logs]
    single, joint = losses[:6], losses[6:]
    assert joint == pytest.approx([sum(single[:3]) / 3, sum(single[3:]) / 3], rel=1e-5)


def test_the_loss_of_an_epoch_is_logged_beside_its_metrics(
    recording: type[Recording], saved: Saved, tmp_path: Path
) -> None:
    method = mh.Fork(top=1, trainer=arguments(tmp_path, logging_strategy="epoch"), held_out=0)
    mh.train(headed(saved), ROWS, text="note", method=method, eval_fraction=0.25)
    assert sum("loss" in logs for _, logs in recording.records) == 2


@pytest.mark.parametrize(
    "method", [mh.Frozen(cache=None), mh.Fork(top=1, epochs=1, held_out=0)], ids=["Frozen", "Fork"]
)
def test_a_training_sends_one_record_at_its_end(recording: type[Recording], saved: Saved, method: Any) -> None:
    result = mh.train(headed(saved), ROWS, text="note", method=method, eval_fraction=0.25, report_to="recording")
    ((step, logs),) = recording.records
    assert step == result.chosen["urgency"].get("steps", 0)
    for head, metrics in result.metrics.items():
        for name, value in metrics.items():
            assert math.isnan(value) or logs[f"eval_{head}.{name}"] == value
    assert logs["age.training_rows"] == result.rows["age"]["train"]
    assert {f"urgency.{name}" for name in result.chosen["urgency"]} <= set(logs)
    assert recording.calls == ["begin", "end"]


def test_a_logger_that_does_not_exist_is_found_before_training(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    model = headed(saved)
    with pytest.raises(mh.errors.MethodError, match="tensorbord is not supported"):
        mh.train(model, ROWS, text="note", report_to="tensorbord")
    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: False)
    with pytest.raises(mh.errors.MissingExtraError, match="requires tensorboard to be installed"):
        mh.train(model, ROWS, text="note", report_to=["tensorboard"])
    assert not model.heads["urgency"].trained
