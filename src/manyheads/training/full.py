"""Tune the backbone itself, all of it or its top blocks, together with every head, in one joint loss."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from manyheads.core import HeadedCore
from manyheads.data.collate import collate
from manyheads.errors import BackboneError, HeadError, listed
from manyheads.features import FeatureSource
from manyheads.heads import Head
from manyheads.inference.predictor import apply_heads
from manyheads.lm_check import perplexity
from manyheads.metrics import measure
from manyheads.training.data import TrainingData
from manyheads.training.frozen import FrozenStart
from manyheads.training.labelled import labelled_rows
from manyheads.training.methods import Method, Outcome
from manyheads.training.rows import class_weights_of
from manyheads.training.trainer import Trainer
from manyheads.training.trial import Fit
from manyheads.types import Batch, HeadedOutput

STARTS = ("frozen", "random")


@dataclass(frozen=True)
class Full(Method):
    """Tune the backbone with the heads, by steps: weighted losses summed, one backward.

    Each head's loss is normalised by what is labelled of it in a whole step, over accumulated micro-batches. The
    language model changes with the backbone; ``lm_weight`` adds its own loss on the same texts, so that it keeps
    what it knew, and the result compares its perplexity on the evaluation texts before and after.

    Args:
        top: Tune the top k blocks alone; ``None`` tunes the whole backbone.
        epochs: Passes over the training rows.
        lr: Peak learning rate of the backbone's top.
        head_lr: Peak learning rate of the heads.
        layer_decay: Factor on ``lr`` for each block further down (Howard and Ruder 2018, discriminative fine-tuning).
        weight_decay: AdamW's, on matrices only.
        batch_rows: Rows per step.
        lm_weight: Factor of the causal language model's loss on the training texts.
        start: ``"frozen"`` solves the heads on frozen features first (LP-FT, Kumar et al. 2022), ``"random"`` draws
            them.
        trainer: ``transformers.TrainingArguments`` whose own settings then hold, epochs, batch size and precision
            included; the learning rates and weight decay stay those given here.

    Raises:
        HeadError: a setting out of its range.
    """

    top: int | None = None
    epochs: float = 3
    lr: float = 2e-5
    head_lr: float = 1e-3
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    batch_rows: int = 16
    lm_weight: float = 0.0
    start: str = "frozen"
    trainer: transformers.TrainingArguments | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "head_lr", "layer_decay"):
            _check_number(name, getattr(self, name), above=0.0)
        for name in ("weight_decay", "lm_weight"):
            _check_number(name, getattr(self, name))
        if self.start not in STARTS:
            raise HeadError(f"Full: start must be one of {listed(STARTS)}, got {self.start!r}")
        for name, value in (("top", self.top), ("batch_rows", self.batch_rows)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if not whole and not (name == "top" and value is None):
                raise HeadError(f"Full: {name} must be a positive whole number, got {value!r}")

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Start the heads, then tune everything together; if it fails, the model is what it was."""
        self._check(core)
        tuned = tuned_parameters(core, self.top)
        before = perplexity(core, data.tokenized, data.evaluate)
        with _restored_on_failure(core, heads):
            self._start(core, heads, data)
            history: dict[str, list[dict[str, float]]] = {name: [] for name in heads}
            with _requiring_gradients(core, tuned, heads), tempfile.TemporaryDirectory() as scratch:
                run = self._trainer(core, heads, data, scratch)
                run.add_callback(_Watch(core, heads, data, history))
                run.remove_callback(transformers.trainer_callback.PrinterCallback)
                run.train()
        for head in heads.values():
            head.trained = True
        settings = {"epochs": float(run.state.epoch or 0), "steps": float(run.state.global_step), "lr": self.lr}
        fits = {name: Fit({}, settings, [], history[name]) for name in heads}
        after = perplexity(core, data.tokenized, data.evaluate)
        return Outcome(fits, _evaluated(core, heads, data), (before, after))

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        names = ("top", "epochs", "lr", "head_lr", "layer_decay", "weight_decay", "batch_rows", "lm_weight", "start")
        return {"method": "Full", **{name: getattr(self, name) for name in names}}

    def _check(self, core: HeadedCore) -> None:
        backbone = core.backbone
        if self.lm_weight > 0 and (backbone.lm is None or not backbone.facts.causal):
            raise BackboneError(f"{backbone.name}: lm_weight needs a causal language model; leave it at 0")

    def _start(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> None:
        if self.start == "frozen":
            FrozenStart().fit(core, heads, data)
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            for name, head in heads.items():
                places = data.train[labelled_rows(head.spec, data.targets[name][data.train])]
                weights = class_weights_of(head, data.targets[name][places])
                head.take_over(core.build_head(head.spec))
                head.set_class_weights(None if weights is None else weights.float().to(core.backbone.device))

    def _trainer(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, scratch: str) -> Trainer:
        arguments = self.trainer if self.trainer is not None else self._arguments(core, data, scratch)
        optimiser = torch.optim.AdamW(parameter_groups(self, core, heads), lr=self.lr)
        return Trainer(
            model=_Tuned(core, list(heads)),
            args=arguments,
            data_collator=_collate_rows,
            train_dataset=_Rows(data, heads),
            optimizers=(optimiser, None),
            lm_weight=self.lm_weight,
        )

    def _arguments(self, core: HeadedCore, data: TrainingData, scratch: str) -> transformers.TrainingArguments:
        steps = math.ceil(len(data.train) / self.batch_rows * self.epochs)
        return transformers.TrainingArguments(
            output_dir=scratch,
            num_train_epochs=self.epochs,
            per_device_train_batch_size=self.batch_rows,
            warmup_steps=round(0.06 * steps),
            train_sampling_strategy="group_by_length",
            seed=data.seed,
            use_cpu=core.backbone.device.type == "cpu",
            dataloader_pin_memory=core.backbone.device.type != "cpu",
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )


def tuned_parameters(core: HeadedCore, top: int | None) -> list[nn.Parameter]:
    """Return the backbone's parameters that are to change: those of the top blocks, or all.

    Raises:
        BackboneError: the backbone has fewer blocks, or none that can be told apart.
    """
    backbone = core.backbone
    if top is None:
        return list(backbone.parameters())
    blocks = backbone.blocks()
    if top > len(blocks):
        raise BackboneError(f"{backbone.name}: has {len(blocks)} blocks, so the top {top} cannot be tuned")
    return [parameter for block in blocks[-top:] for parameter in block.parameters()]


def parameter_groups(method: Full, core: HeadedCore, heads: Mapping[str, Head]) -> list[dict[str, Any]]:
    """Return AdamW's groups: heads, and the backbone by depth, matrices apart from what must not decay."""
    rates = _backbone_rates(method, core)
    rates |= {parameter: method.head_lr for head in heads.values() for parameter in head.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, rate in rates.items():
        if parameter.requires_grad:
            decay = method.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def _backbone_rates(method: Full, core: HeadedCore) -> dict[nn.Parameter, float]:
    """Return each parameter's learning rate: what is in no block counts as below them if it embeds, else as on top."""
    backbone = core.backbone
    rates = dict.fromkeys(backbone.parameters(), method.lr)
    if method.layer_decay == 1.0:
        return rates
    blocks = backbone.blocks()
    below = method.lr * method.layer_decay ** len(blocks)
    embeddings = [module for module in backbone.modules() if isinstance(module, nn.Embedding)]
    rates |= {parameter: below for module in embeddings for parameter in module.parameters()}
    for depth, block in enumerate(blocks):
        rate = method.lr * method.layer_decay ** (len(blocks) - 1 - depth)
        rates |= dict.fromkeys(block.parameters(), rate)
    return rates


class _Tuned(nn.Module):
    """The core with the signature that a trainer calls, for some of its heads."""

    def __init__(self, core: HeadedCore, names: Sequence[str]) -> None:
        super().__init__()
        self.core = core
        self._names = names

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Mapping[str, Tensor] | None = None,
        lm: bool = False,
    ) -> HeadedOutput:
        output: HeadedOutput = self.core(Batch(input_ids, attention_mask, token_type_ids), labels, self._names, lm)
        return output


class _Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """The training rows as examples."""

    def __init__(self, data: TrainingData, heads: Mapping[str, Head]) -> None:
        self._data = data
        self._labelled = {name: labelled_rows(head.spec, data.targets[name]) for name, head in heads.items()}

    def __len__(self) -> int:
        return len(self._data.train)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = int(self._data.train[place])
        labels = {name: self._data.targets[name][row] for name, known in self._labelled.items() if known[row]}
        inputs = {name: values[row] for name, values in self._data.tokenized.inputs.items()}
        return {**inputs, "labels": labels, "rows": row}


def _collate_rows(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collate, and keep which rows they are, for messages."""
    return {**collate(examples), "rows": torch.tensor([example["rows"] for example in examples])}


class _Watch(transformers.TrainerCallback):  # type: ignore[misc]
    """Writes down every head's metrics on the evaluation rows after each epoch."""

    def __init__(
        self,
        core: HeadedCore,
        heads: Mapping[str, Head],
        data: TrainingData,
        history: Mapping[str, list[dict[str, float]]],
    ) -> None:
        self._core, self._heads, self._data, self._history = core, heads, data, history

    def on_epoch_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Measure."""
        if not len(self._data.evaluate):
            return
        for name, logits in _evaluated(self._core, self._heads, self._data).items():
            targets = self._data.targets[name][self._data.evaluate]
            metrics = measure(self._heads[name].spec, targets, logits)
            self._history[name].append({"epoch": float(state.epoch or 0), **metrics})


def _evaluated(core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> dict[str, np.ndarray]:
    """Return fp32 logits of the evaluation rows."""
    if not len(data.evaluate):
        return {name: np.empty((0, head.spec.outputs), dtype=np.float32) for name, head in heads.items()}
    source = FeatureSource(core, data.tokenized)
    tables = source.read([tap for head in heads.values() for tap in head.taps], data.evaluate)
    return apply_heads(core, tables, heads, data.evaluate, data.tokenized.lengths)


@contextmanager
def _requiring_gradients(core: HeadedCore, tuned: Sequence[nn.Parameter], heads: Mapping[str, Head]) -> Iterator[None]:
    """Let gradients reach what is tuned and nothing else; afterwards every parameter is asked for what it was, every
    part is in the mode it was in, and no gradient is left."""
    wanted = {*tuned, *(parameter for head in heads.values() for parameter in head.parameters())}
    before = {parameter: parameter.requires_grad for parameter in core.parameters()}
    modes = {module: module.training for module in core.modules()}
    for parameter in before:
        parameter.requires_grad_(parameter in wanted)
    try:
        yield
    finally:
        for parameter, needed in before.items():
            parameter.requires_grad_(needed)
            parameter.grad = None
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _restored_on_failure(core: HeadedCore, heads: Mapping[str, Head]) -> Iterator[None]:
    """Put everything back as it was if tuning fails or is interrupted."""
    weights = {name: tensor.detach().clone() for name, tensor in core.backbone.model.state_dict().items()}
    kept = {name: copy.deepcopy(head) for name, head in heads.items()}
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for name, tensor in core.backbone.model.state_dict().items():
                tensor.copy_(weights[name])
        for name, head in heads.items():
            head.take_over(kept[name])
            head.trained, head.class_weights = kept[name].trained, kept[name].class_weights
        raise


def _check_number(name: str, value: Any, above: float | None = None) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (above is not None and value <= above):
        least = "of at least 0" if above is None else f"above {above:g}"
        raise HeadError(f"Full: {name} must be a finite number {least}, got {value!r}")
