"""Settings of every method that trains by gradient steps, and the parts in which these methods differ."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers

from manyheads.backbone import Backbone
from manyheads.core import HeadedCore
from manyheads.errors import BackboneError, MethodError, listed
from manyheads.heads import Head
from manyheads.training.dataset import TrainingData
from manyheads.training.frozen.method import FrozenBeside, FrozenStart
from manyheads.training.method import Method
from manyheads.training.resuming.run_folder import clear
from manyheads.training.tuning.learning_rates import default_rates
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.training.tuning.step_module import TuningPlan

STARTS = ("frozen", "random")
WEIGHTINGS = ("sum", "learned")
DTYPES = ("auto", "float32", "bfloat16")

# Settings that do not change the result, or have no plain value.
_NOT_DESCRIBED = ("trainer", "checkpoints", "save_steps")


@dataclass(frozen=True, kw_only=True)
class Tuning(Method):
    """Train by gradient steps on the weighted sum of the heads' losses.

    Each head's loss is divided by the total weight of its labels in a step, over all micro-batches and processes.

    Args:
        epochs: Passes over the training rows.
        lr: Peak learning rate of everything that trains beside the heads; ``None`` for one that suits the backbone, see
            ``training.tuning.learning_rates.default_rates``.
        head_lr: Peak learning rate of the heads.
        weight_decay: AdamW's weight decay, applied to matrices only.
        batch_rows: Rows per step, summed over processes.
        start: ``"frozen"`` solves the heads on frozen features first (LP-FT, Kumar et al. 2022); ``"random"``
            initializes them at random.
        weighting: ``"sum"`` of the losses, each times its head's ``loss_weight``; ``"learned"`` also learns a factor
            per head (homoscedastic uncertainty, Kendall et al. 2018; Kurin et al. 2022 found the plain sum as good).
        best_by: Keep the epoch with the best result on the evaluation rows instead of the last: by the ``"mean"`` of
            the heads' main metrics (accuracy, micro F1, R squared), by one head's name, or by a weight per head name.
            Epoch 0, the heads as they were solved before tuning, is among them. The reported metrics are then of the
            rows that selected the epoch.
        tuned_share: Share of the tuned weights in the result; the rest are the weights before tuning (WiSE-FT, Wortsman
            et al. 2022). ``None`` chooses it, 0 to 1, by the loss on the held-out rows; without any it is 0.5. It needs
            ``start="frozen"``, and memory for two copies of the trained weights.
        held_out: Share of the training rows, at most 500 rows, that are not trained on: they choose ``tuned_share``,
            and each head's temperature and thresholds are fitted to them. If it is fewer than 20 rows, or with 0, no
            row is held out, and the temperature is 1.
        patience: Stop after this many epochs without improvement, and keep the best epoch.
        dtype: Precision of the steps: ``"auto"`` (bf16 autocast where the hardware is fast at it), ``"float32"`` (the
            precision of the loaded weights), or ``"bfloat16"``. The dtype of the weights does not change.
        gradient_checkpointing: Recompute blocks in the backward pass, which takes a third more time and stores the
            activations of one block instead of all (Chen et al. 2016).
        trainer: ``transformers.TrainingArguments`` that replace epochs, batch size, precision and all other settings
            except the learning rates and the weight decay.
        checkpoints: A folder for checkpoints. To resume a killed run, start the same run again with the same folder;
            its weights will equal those of an uninterrupted run. The folder of another run is an error. Checkpoints
            contain the trainable weights and the optimizer's state, and are deleted once the model is saved. ``None``
            saves none.
        save_steps: Steps between two checkpoints; ``None`` for one at the end of each epoch.

    Raises:
        MethodError: a setting out of its range.
    """

    epochs: float = 3
    lr: float | None = None
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    batch_rows: int = 16
    start: str = "frozen"
    weighting: str = "sum"
    best_by: str | Mapping[str, float] | None = None
    tuned_share: float | None = None
    held_out: float = 0.1
    patience: int | None = None
    dtype: str = "auto"
    gradient_checkpointing: bool = False
    trainer: transformers.TrainingArguments | None = field(default=None, compare=False)
    checkpoints: str | Path | None = field(default=None, compare=False)
    save_steps: int | None = field(default=None, compare=False)

    several_processes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "head_lr"):
            if getattr(self, name) is not None or name != "lr":
                self.check_number(name, above=0.0)
        self.check_number("weight_decay")
        for name, allowed in (("start", STARTS), ("weighting", WEIGHTINGS), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise MethodError(f"{self.name}: {name} must be one of {listed(allowed)}, got {getattr(self, name)!r}")
        self.check_whole("batch_rows")
        for name in ("patience", "save_steps"):
            if getattr(self, name) is not None:
                self.check_whole(name)
        self._check_shares()
        if self.checkpoints is not None and self.trainer is not None:
            raise MethodError(
                f"{self.name}: trainer has its own output_dir and save settings; leave checkpoints out, and set "
                "resume_from_checkpoint in trainer to resume"
            )
        weights = self.best_by.values() if isinstance(self.best_by, Mapping) else [1.0]
        if not weights or not all(isinstance(weight, int | float) and 0 < weight < math.inf for weight in weights):
            raise MethodError(f"{self.name}: best_by must weight heads by positive numbers, got {self.best_by!r}")

    def _check_shares(self) -> None:
        self.check_number("held_out")
        if self.held_out >= 1:
            raise MethodError(f"{self.name}: held_out must be a share below 1, got {self.held_out!r}")
        if self.tuned_share is None:
            return
        self.check_number("tuned_share")
        if self.tuned_share > 1 or (self.tuned_share < 1 and self.start != "frozen"):
            raise MethodError(
                f"{self.name}: tuned_share must be at most 1, and below 1 only with start='frozen', got "
                f"{self.tuned_share!r} with start={self.start!r}"
            )

    @property
    def name(self) -> str:
        """The method's name in messages."""
        return type(self).__name__

    @property
    def mixes_weights(self) -> bool:
        """Whether the result may mix the tuned weights with those before tuning."""
        return self.start == "frozen" and self.tuned_share != 1

    @property
    def chooses_share(self) -> bool:
        """Whether the share of the tuned weights is chosen on held-out rows."""
        return self.mixes_weights and self.tuned_share is None

    @property
    def lm_factor(self) -> float:
        """Factor of the language model's loss."""
        return 0.0

    def rate(self, backbone: Backbone) -> float:
        """Return the peak learning rate of everything that trains beside the heads."""
        return default_rates(backbone)[0] if self.lr is None else self.lr

    @abstractmethod
    def check(self, core: HeadedCore, heads: Mapping[str, Head]) -> None:
        """Check that the method supports the backbone and the heads, before any computation.

        Raises:
            BackboneError: the method cannot train this backbone.
            MethodError: the method has no effect on a head.
        """

    @abstractmethod
    def plan(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, weighting: Weighting) -> TuningPlan:
        """Return the module to train and its learning rates; the heads have their initial weights."""

    @property
    def chooses_by_evaluation(self) -> bool:
        """Whether the evaluation rows choose the epoch."""
        return self.best_by is not None

    def for_parts(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Method:
        """Return the method without checkpoints: a folder belongs to one run."""
        return replace(self, checkpoints=None, save_steps=None)

    def frozen_beside(self) -> FrozenBeside | None:
        """Return the method for heads that answer together with the tuned ones; ``None`` if these answer alone."""
        return None

    def frozen_start(self) -> FrozenStart:
        """Return the method that solves the heads for ``start="frozen"``."""
        return FrozenStart()

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NOT_DESCRIBED}
        return {"method": self.name, **{name: _plain(value) for name, value in values.items()}}

    def tidy(self) -> None:
        """Delete the checkpoints of a finished run."""
        if self.checkpoints is not None:
            clear(Path(self.checkpoints))

    def check_number(self, name: str, above: float | None = None) -> None:
        """Check that a setting is a finite number of at least 0, or above a bound.

        Raises:
            MethodError: it is not.
        """
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (above is not None and value <= above):
            least = "of at least 0" if above is None else f"above {above:g}"
            raise MethodError(f"{self.name}: {name} must be a finite number {least}, got {value!r}")

    def check_whole(self, name: str) -> None:
        """Check that a setting is a positive whole number.

        Raises:
            MethodError: it is not.
        """
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise MethodError(f"{self.name}: {name} must be a positive whole number, got {value!r}")


def check_trainable(backbone: Backbone, method: str) -> None:
    """Check that an optimizer can train the backbone's own weights.

    Raises:
        BackboneError: they are quantized, or fp16, in which AdamW's epsilon is zero.
    """
    if any(parameter.dtype == torch.float16 for parameter in backbone.stack.parameters()):
        raise BackboneError(
            f"{backbone.name}: {method} trains its weights, for which fp16 is too coarse; load it with "
            "dtype='bfloat16' or 'float32'"
        )
    if backbone.quantized:
        raise BackboneError(
            f"{backbone.name}: {method} trains its weights, which are quantized; train heads on it with Frozen, "
            "adapters beside it with LoRA, or load it without quantization_config"
        )


def coarse_note(backbone: Backbone) -> tuple[str, ...]:
    """Return a note if the weights that train are bf16."""
    if any(parameter.dtype == torch.bfloat16 for parameter in backbone.stack.parameters()):
        return ("The trained weights are bf16, which loses small updates; if memory allows, load float32.",)
    return ()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
