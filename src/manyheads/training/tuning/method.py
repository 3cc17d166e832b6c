"""Tuning by steps: what every method has in common that trains more than heads, whatever it trains."""

from __future__ import annotations

import copy
import math
import tempfile
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor

from manyheads.backbone import Backbone
from manyheads.core import HeadedCore
from manyheads.errors import BackboneError, HeadError, TrainingError, listed
from manyheads.evaluation.lm_loss import perplexity
from manyheads.features import FeatureSource, precision
from manyheads.heads import Head
from manyheads.runtime.processes import from_first, is_first, process_count, wait_for_all
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import HeadFit
from manyheads.training.frozen.method import FrozenStart, ready_head
from manyheads.training.method import Method, Outcome
from manyheads.training.resuming.run_folder import RunFolder, clear, run_facts
from manyheads.training.solving.head_rows import class_weights_of
from manyheads.training.tuning.best_epoch import EpochEvaluator, selection_of
from manyheads.training.tuning.learning_rates import parameter_groups
from manyheads.training.tuning.loss_weighting import LearnedWeighting, Weighting
from manyheads.training.tuning.rollback import recomputing, requiring_gradients, restored_on_failure
from manyheads.training.tuning.step_module import Rows, TuningPlan, evaluated
from manyheads.training.tuning.trainer import Trainer

STARTS = ("frozen", "random")
WEIGHTINGS = ("sum", "learned")
DTYPES = ("auto", "float32", "bfloat16")

# Settings that change no result, or that are no plain values.
_NOT_TOLD = ("trainer", "checkpoints", "save_steps")


@dataclass(frozen=True, kw_only=True)
class Tuning(Method):
    """Train by steps: weighted losses summed, one backward.

    Each head's loss is normalised by what is labelled of it in a whole step, over micro-batches and processes.

    Args:
        epochs: Passes over the training rows.
        lr: Peak learning rate of what is tuned beside the heads.
        head_lr: Peak learning rate of the heads.
        weight_decay: AdamW's, on matrices only.
        batch_rows: Rows per step, over all processes.
        start: ``"frozen"`` solves the heads on frozen features first (LP-FT, Kumar et al. 2022), ``"random"`` draws
            them.
        weighting: ``"sum"`` of the losses, each times its head's ``loss_weight``, or ``"learned"`` beside that
            (homoscedastic uncertainty, Kendall et al. 2018; Kurin et al. 2022 found the plain sum as good).
        best_by: Keep the epoch that is best on the evaluation rows, instead of the last: by ``"mean"`` of the heads'
            main metrics (accuracy, micro F1, R squared), one head's name, or a weight by head name. The metrics
            reported are then those of rows that chose the epoch.
        patience: Stop after this many epochs that were not better, and keep the best.
        dtype: Precision of the steps: ``"auto"`` (bf16 autocast where the hardware has it), ``"float32"`` (the
            precision the weights were loaded in), or ``"bfloat16"``. Weights and heads keep theirs.
        gradient_checkpointing: Whether blocks are computed again in the backward, which takes a third more time and
            the memory of one block's activations instead of all (Chen et al. 2016).
        trainer: ``transformers.TrainingArguments`` whose own settings then hold, epochs, batch size and precision
            included; the learning rates and weight decay stay those given here.
        checkpoints: A folder for checkpoints, so that a killed run can go on: start the same run again, with the same
            folder, and its weights will be those of a run that was never killed. Another run's folder is refused. They
            hold what trains and the optimiser's state, and are deleted once the model is safe. ``None`` keeps none.
        save_steps: Steps between two checkpoints, where they are kept; ``None`` for one at each epoch's end.

    Raises:
        HeadError: a setting out of its range.
    """

    epochs: float = 3
    lr: float = 2e-5
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    batch_rows: int = 16
    start: str = "frozen"
    weighting: str = "sum"
    best_by: str | Mapping[str, float] | None = None
    patience: int | None = None
    dtype: str = "auto"
    gradient_checkpointing: bool = False
    trainer: transformers.TrainingArguments | None = field(default=None, compare=False)
    checkpoints: str | Path | None = field(default=None, compare=False)
    save_steps: int | None = field(default=None, compare=False)

    several_processes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "head_lr"):
            self.check_number(name, above=0.0)
        self.check_number("weight_decay")
        for name, allowed in (("start", STARTS), ("weighting", WEIGHTINGS), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise HeadError(f"{self.name}: {name} must be one of {listed(allowed)}, got {getattr(self, name)!r}")
        self.check_whole("batch_rows")
        for name in ("patience", "save_steps"):
            if getattr(self, name) is not None:
                self.check_whole(name)
        if self.checkpoints is not None and self.trainer is not None:
            raise HeadError(
                f"{self.name}: trainer brings its own output_dir and save settings; leave checkpoints out, and name "
                "the checkpoint to go on from in its resume_from_checkpoint"
            )
        weights = self.best_by.values() if isinstance(self.best_by, Mapping) else [1.0]
        if not weights or not all(isinstance(weight, int | float) and 0 < weight < math.inf for weight in weights):
            raise HeadError(f"{self.name}: best_by must weigh heads by positive numbers, got {self.best_by!r}")

    @property
    def name(self) -> str:
        """The method's name, for messages."""
        return type(self).__name__

    @abstractmethod
    def check(self, core: HeadedCore, heads: Mapping[str, Head]) -> None:
        """Refuse what this backbone or these heads cannot do, before anything runs.

        Raises:
            BackboneError: the backbone cannot be trained so.
        """

    @abstractmethod
    def course(
        self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, weighting: Weighting
    ) -> TuningPlan:
        """Return what is to be stepped; the heads have started."""

    def changing(self, core: HeadedCore) -> Iterable[Tensor]:
        """Return the backbone's own tensors that training will change."""
        return ()

    @property
    def lm_factor(self) -> float:
        """Factor of the language model's loss."""
        return 0.0

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Start the heads, then step everything together; if it fails, the model is what it was."""
        self.check(core, heads)
        selection = selection_of(self.best_by, self.patience, heads, data)
        kept = self._kept(heads, data)
        changing = list(self.changing(core))
        before = perplexity(core, data.tokenized, data.evaluate) if changing else None
        with restored_on_failure(core, heads, changing):
            self.begin(core, heads, data)
            device = core.backbone.device
            weighting = LearnedWeighting(heads, device) if self.weighting == "learned" else Weighting()
            course = self.course(core, heads, data, weighting)
            tuned = [*course.rates, *weighting.parameters()]
            watch = EpochEvaluator(heads, data, course.evaluate, tuned, selection)
            run, notes = self._stepped(core, heads, data, course, watch, kept)
            logits = watch.finish(run.state.global_step)
            if logits is None or not course.live:
                logits = evaluated(core, heads, data)
            after = perplexity(core, data.tokenized, data.evaluate) if changing else None
        for head in heads.values():
            head.trained = True
        settings = _settings(run, watch, self.lr)
        learned = weighting.weights()
        fits = {
            name: HeadFit(
                {}, settings | ({"learned_weight": learned[name]} if learned else {}), [], watch.history[name]
            )
            for name in heads
        }
        return Outcome(fits, logits, (before, after), (*course.notes, *notes))

    def _stepped(
        self,
        core: HeadedCore,
        heads: Mapping[str, Head],
        data: TrainingData,
        course: TuningPlan,
        watch: EpochEvaluator,
        kept: RunFolder | None,
    ) -> tuple[Trainer, tuple[str, ...]]:
        """Run the trainer over the course; return it, and what a person should know."""
        with (
            requiring_gradients(core, course.rates),
            self._recomputing(core),
            tempfile.TemporaryDirectory() as scratch,
        ):
            run = self._trainer(core, heads, data, course, str(self.checkpoints or scratch))
            run.add_callback(watch)
            run.remove_callback(transformers.trainer_callback.PrinterCallback)
            last = self._resumed(kept)
            run.train(last)
        went_on = (f"Training went on from {last}, where an earlier run had been stopped.",) if kept and last else ()
        return run, went_on

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NOT_TOLD}
        return {"method": self.name, **{name: _plain(value) for name, value in values.items()}}

    def tidy(self) -> None:
        """Delete the checkpoints: what remains is the model."""
        if self.checkpoints is not None:
            clear(Path(self.checkpoints))

    def begin(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> None:
        """Give the heads weights to go on from, on the backbone as it is."""
        if self.start == "frozen":
            self.frozen().fit(core, heads, data)
            return
        source = FeatureSource(core, data.tokenized)  # for readers that choose tokens by the training rows
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            for name, head in heads.items():
                places = data.labelled(name)
                targets = data.targets[name].take(places)
                weights = class_weights_of(head, targets)
                fresh = ready_head(core, head.spec, core.resolved(head.spec.taps), source, places, targets)
                head.take_over(fresh.to(core.backbone.device))
                head.set_class_weights(None if weights is None else weights.float().to(core.backbone.device))

    def frozen(self) -> FrozenStart:
        """Return how heads are solved first."""
        return FrozenStart()

    def check_number(self, name: str, above: float | None = None) -> None:
        """Refuse a setting that is no finite number of at least 0, or above a bound."""
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (above is not None and value <= above):
            least = "of at least 0" if above is None else f"above {above:g}"
            raise HeadError(f"{self.name}: {name} must be a finite number {least}, got {value!r}")

    def check_whole(self, name: str) -> None:
        """Refuse a setting that is no positive whole number."""
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise HeadError(f"{self.name}: {name} must be a positive whole number, got {value!r}")

    def _trainer(
        self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, course: TuningPlan, scratch: str
    ) -> Trainer:
        rates = dict(course.rates) | dict.fromkeys(course.module.weighting.parameters(), self.head_lr)
        # One kernel for all of a group: six times as fast as torch's default on a CPU.
        optimiser = torch.optim.AdamW(parameter_groups(rates, self.weight_decay), lr=self.lr, fused=True)
        return Trainer(
            model=course.module,
            args=self._own_arguments() or self._arguments(core, data, scratch),
            data_collator=course.collate,
            train_dataset=Rows(data, heads),
            optimizers=(optimiser, None),
            lm_weight=self.lm_factor,
        )

    def _recomputing(self, core: HeadedCore) -> AbstractContextManager[object]:
        return recomputing(core.backbone) if self.gradient_checkpointing else nullcontext()

    def _kept(self, heads: Mapping[str, Head], data: TrainingData) -> RunFolder | None:
        """Return where checkpoints are kept, if they are; refuse a folder of something else."""
        if self.checkpoints is None:
            return None
        kept = RunFolder(Path(self.checkpoints), run_facts(self.describe(), heads, data))
        kept.check()
        return kept

    def _resumed(self, kept: RunFolder | None) -> str | bool | None:
        """Return what to go on from: the newest whole checkpoint, or what the trainer's own settings name."""
        if kept is None:
            own = None if self.trainer is None else self.trainer.resume_from_checkpoint
            return own if own not in ("True", "true") else True
        wait_for_all()  # until all have seen whose folder it is
        if is_first():
            kept.begin()
        last = from_first(kept.last() if is_first() else None)
        return None if last is None else str(last)

    def _own_arguments(self) -> transformers.TrainingArguments | None:
        if self.trainer is None:
            return None
        arguments = copy.copy(self.trainer)
        arguments.remove_unused_columns = False  # what our examples hold, our collators need
        return arguments

    def _arguments(self, core: HeadedCore, data: TrainingData, scratch: str) -> transformers.TrainingArguments:
        steps = math.ceil(len(data.train) / self.batch_rows * self.epochs)
        on_cpu = core.backbone.device.type == "cpu"
        return transformers.TrainingArguments(
            output_dir=scratch,
            num_train_epochs=self.epochs,
            per_device_train_batch_size=self._rows_per_process(),
            warmup_steps=round(0.06 * steps),
            train_sampling_strategy="group_by_length",
            seed=data.seed,
            bf16=self._autocast(core.backbone.device),
            use_cpu=on_cpu,
            ddp_backend="gloo" if on_cpu and process_count() > 1 else None,
            ddp_find_unused_parameters=True,  # those of heads that no row of a step is labelled for
            ddp_broadcast_buffers=False,  # nothing writes to them
            dataloader_pin_memory=not on_cpu,
            remove_unused_columns=False,
            save_strategy=self._save_strategy(),
            save_steps=self.save_steps or 500,
            save_total_limit=2,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )

    def _save_strategy(self) -> str:
        if self.checkpoints is None:
            return "no"
        return "epoch" if self.save_steps is None else "steps"

    def _rows_per_process(self) -> int:
        rows, left = divmod(self.batch_rows, process_count())
        if left or not rows:
            raise TrainingError(
                f"{self.name}: batch_rows={self.batch_rows} cannot be shared evenly by {process_count()} processes; "
                f"choose a multiple of {process_count()}"
            )
        return rows

    def _autocast(self, device: torch.device) -> bool:
        return self.dtype == "bfloat16" or (self.dtype == "auto" and precision.has_fast_bfloat16(device))


def check_steppable(backbone: Backbone, method: str) -> None:
    """Refuse a backbone whose own weights no optimiser can step.

    Raises:
        BackboneError: its weights are quantised, or fp16, where AdamW's epsilon is zero.
    """
    if any(parameter.dtype == torch.float16 for parameter in backbone.stack.parameters()):
        raise BackboneError(
            f"{backbone.name}: {method} steps its weights, which fp16 is too coarse for; load it with dtype='bfloat16' "
            "or 'float32'"
        )
    if backbone.quantised:
        raise BackboneError(
            f"{backbone.name}: {method} steps its weights, which are quantised; train heads on it with Frozen, "
            "adapters beside it with LoRA, or load it without quantization_config"
        )


def coarse_note(backbone: Backbone) -> tuple[str, ...]:
    """Return a sentence of warning where the weights that are stepped have few digits."""
    if any(parameter.dtype == torch.bfloat16 for parameter in backbone.stack.parameters()):
        return ("The weights that were tuned are bf16, which loses small updates; if memory allows, load float32.",)
    return ()


def _settings(run: Trainer, watch: EpochEvaluator, rate: float) -> dict[str, float]:
    settings = {"epochs": float(run.state.epoch or 0), "steps": float(run.state.global_step), "lr": rate}
    return settings if watch.best_epoch is None else settings | {"best_epoch": watch.best_epoch}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
