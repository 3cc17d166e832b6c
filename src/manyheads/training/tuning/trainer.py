"""A transformers Trainer with a correct joint loss: each head's loss is normalized over a whole step.

transformers divides a batch's mean loss by the number of micro-batches, which is correct only if all micro-batches have
equally many labels of every head. Here each head's loss is summed and divided by the total weight of its labels in all
micro-batches of a step, on all processes.

Every process runs the heads that have labels on any process in this step, and its loss depends on all of them. So
processes agree on the gradients to exchange, and a head without labels gets no gradient.

The order of the rows depends only on the seed and the epoch, so that processes train on different rows and a resumed
run continues with the remaining ones. If the rows of an epoch cannot be divided evenly, accelerate repeats some of its
first rows (``even_batches``), so that all processes take equally many steps. Repeated rows are removed here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput

from manyheads.core import HeadedCore
from manyheads.core.output import HeadedOutput
from manyheads.data.collate import collate
from manyheads.errors import InputError, MissingExtraError, TrainingError, listed
from manyheads.evaluation.lm_loss import lm_loss, predicted_tokens
from manyheads.runtime.processes import from_first, is_first, wait_for_all
from manyheads.training.resuming.checkpoints import delete
from manyheads.training.resuming.trainer_state import (
    CheckpointedCallback,
    checkpoint_to_resume,
    finish_checkpoint,
    load_trainable_state,
    trainable_state,
)
from manyheads.training.tuning.head_losses import HeadLosses
from manyheads.training.tuning.sampler import EpochSampler, SetEpoch, first_rows
from manyheads.types import Batch

# Key of the language model's loss among the heads' losses; no head may have this name.
LM = "lm"


class Trainer(transformers.Trainer):  # type: ignore[misc]
    """Trains a ``HeadedModel`` on examples in the format of ``collate``.

    Accumulation, processes, precision, loggers and callbacks work as in transformers.

    Args:
        model: A headed model, or a module with the same ``forward`` and a ``core``.
        args: Training arguments; batch sizes count rows.
        data_collator: ``collate`` by default.
        train_dataset: Training examples.
        eval_dataset: Evaluation examples.
        compute_metrics: Function of an ``EvalPrediction`` with logits and labels by head name.
        callbacks: Further callbacks.
        optimizers: Optimizer and learning-rate schedule; ``None`` for transformers' defaults.
        lm_weight: Factor of the causal language model's loss on the same texts.

    Raises:
        InputError: a model without a core.
        MissingExtraError: accelerate is not installed.

    Examples:
        >>> import transformers
        >>> inputs = model.tokenizer(texts)["input_ids"]
        >>> rows = [{"input_ids": ids, "labels": {"urgency": 0}} for ids in inputs]
        >>> settings = {"max_steps": 1, "report_to": [], "disable_tqdm": True, "use_cpu": True}
        >>> arguments = transformers.TrainingArguments(str(folder), **settings)
        >>> mh.Trainer(model, arguments, train_dataset=rows).train().global_step
        {'train_runtime': ...}
        1
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module,
        args: transformers.TrainingArguments | None = None,
        data_collator: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]] = collate,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        compute_metrics: Callable[[transformers.EvalPrediction], dict[str, float]] | None = None,
        callbacks: list[transformers.TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        lm_weight: float = 0.0,
    ) -> None:
        if not isinstance(getattr(model, "core", None), HeadedCore):
            raise InputError(f"mh.Trainer trains a HeadedModel, got {type(model).__name__}; use transformers.Trainer")
        if find_spec("accelerate") is None:
            raise MissingExtraError("Tuning needs accelerate: pip install 'manyheads[finetune]'")
        super().__init__(
            model=model, args=args, data_collator=data_collator, train_dataset=train_dataset, eval_dataset=eval_dataset,
            compute_metrics=compute_metrics, callbacks=callbacks, optimizers=optimizers,
        )  # fmt: skip
        self.model_accepts_loss_kwargs = True
        self.label_names = ["labels"]
        self.lm_weight = lm_weight
        self._head_losses = HeadLosses()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log values, and beside the training loss that of each head as ``head.loss``."""
        by_head = self._head_losses.take(self._total) if "loss" in logs else {}
        super().log({**logs, **by_head}, start_time)

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], dict[str, Tensor] | None]:
        """Return the micro-batches of one step, and the divisor of each head's loss, summed over all processes."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        if not batches:
            return batches, None
        batches[-1] = self._without_repeated(batches[-1])
        weights = self._weights(batches, device)
        summed = dict(zip(weights, self._total(torch.stack(list(weights.values()))), strict=True))
        self._head_losses.begin_step(summed)
        return batches, summed

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: dict[str, Tensor] | None = None,
    ) -> Any:
        """Return a micro-batch's share of the step's loss.

        Raises:
            TrainingError: a loss is not finite; names the head, the step and the rows.
        """
        inputs = dict(inputs)
        rows = inputs.pop("rows", None)
        labels = dict(inputs.pop("labels"))
        active = None
        if num_items_in_batch is not None:
            active = [name for name in self._core().heads if num_items_in_batch[name] > 0]
        outputs: HeadedOutput = model(**inputs, labels=labels, heads=active, lm=self.lm_weight > 0)
        terms = self._terms(outputs, inputs)
        self._check_finite(terms, rows)
        if num_items_in_batch is None:
            shares = [value / weight for value, weight in terms.values() if weight > 0]
        else:
            # Processes average their gradients, and a step's gradient is the sum of all shares.
            by_head = {name: value / num_items_in_batch[name].clamp(min=1e-38) for name, (value, _) in terms.items()}
            self._head_losses.add(by_head)
            shares = [self.accelerator.num_processes * share for share in by_head.values()]
        loss = torch.stack(shares).sum() if shares else torch.zeros((), device=self.args.device, requires_grad=True)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Any, Any]:
        """Return the loss, the heads' logits and their labels; never losses or the language model's logits."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        heads = self._core().heads
        labels = {
            name: inputs["labels"].get(name, heads[name].spec.unlabelled(logits))
            for name, logits in outputs.logits.items()
        }
        return loss, {name: value.detach().float() for name, value in outputs.logits.items()}, labels

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int] | None:
        """Return a sampler with the same order on every process and in a resumed run."""
        rows = self.train_dataset if train_dataset is None else train_dataset
        strategy = self.args.train_sampling_strategy
        if strategy not in ("random", "group_by_length") or not hasattr(rows, "__len__"):
            default: torch.utils.data.Sampler[int] | None = super()._get_train_sampler(train_dataset)
            return default
        arguments = self.args
        seed = arguments.seed if arguments.data_seed is None else arguments.data_seed
        lengths = [len(row["input_ids"]) for row in rows] if strategy == "group_by_length" else None
        step_rows = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        sampler = EpochSampler(len(rows), seed, lengths, step_rows)
        self.remove_callback(SetEpoch)
        self.add_callback(SetEpoch(sampler))
        return sampler

    def _without_repeated(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch without repeated rows, which only the last batch of an epoch has."""
        processes, size = self.args.world_size, self.args.train_batch_size
        is_last = self.accelerator.gradient_state.end_of_dataloader
        if (
            processes == 1
            or not is_last
            or self.accelerator.split_batches
            or not hasattr(self.train_dataset, "__len__")
        ):
            return batch
        remaining = len(self.train_dataset) % (processes * size)
        if not remaining or self.args.dataloader_drop_last:
            return batch
        return first_rows(batch, min(max(remaining - self.args.process_index * size, 0), size))

    def _total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        total: Tensor = self.accelerator.reduce(values, reduction="sum")
        return total

    def _core(self) -> HeadedCore:
        core: HeadedCore = self.accelerator.unwrap_model(self.model).core
        return core

    def _terms(self, outputs: HeadedOutput, inputs: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return weighted sums of losses and the sums of their weights, per head and for the language model."""
        assert outputs.logits is not None
        assert outputs.losses is not None
        assert outputs.weights is not None
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        for name, logits in outputs.logits.items():
            weight = outputs.weights.get(name)
            if weight is None or weight == 0:
                # Other micro-batches of the step have labels of the head, so its gradient here is zero, not None.
                terms[name] = logits.sum() * 0.0, logits.new_zeros(())
            else:
                terms[name] = self._core().heads[name].spec.loss_weight * outputs.losses[name] * weight, weight
        if self.lm_weight > 0:
            assert outputs.lm_logits is not None
            total, count = lm_loss(outputs.lm_logits, *(inputs[name] for name in _lm_names(inputs)))
            terms[LM] = (self.lm_weight * total, count)
        return terms

    def _weights(self, batches: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Tensor]:
        """Return the total weight of each head's labels in these batches, and of the language model's tokens."""
        core = self._core()
        weights = {name: torch.zeros((), device=device) for name in [*core.heads, LM]}
        for batch in batches:
            inputs = Batch(batch["input_ids"], batch["attention_mask"], word_ids=batch.get("word_ids"))
            sample_weight = None if batch.get("sample_weight") is None else batch["sample_weight"].cpu()
            for name, targets in core.targets(batch["labels"], inputs).items():
                class_weights = core.heads[name].loss_weights(name)
                cpu = None if class_weights is None else class_weights.cpu()
                weights[name] += core.heads[name].spec.total_weight(targets.cpu(), cpu, sample_weight).to(device)
            weights[LM] += predicted_tokens(batch[_lm_names(batch)[1]]).sum().to(device)
        return weights

    def _check_finite(self, terms: Mapping[str, tuple[Tensor, Tensor]], rows: Tensor | None) -> None:
        wrong = [name for name, (value, _) in terms.items() if not bool(torch.isfinite(value))]
        if wrong:
            where = "" if rows is None else f", training rows {listed((rows + 1).tolist())}"
            raise TrainingError(
                f"Head {wrong[0]!r}: its loss is not finite at step {self.state.global_step + 1}{where}; lower the "
                "learning rate, or look for extreme values in those rows"
            )

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train, from the start or from a checkpoint.

        Args:
            resume_from_checkpoint: A checkpoint's folder, or True for the newest complete one in ``args.output_dir``.
            trial: As in transformers.
            ignore_keys_for_eval: As in transformers.

        Raises:
            NotACheckpointError: there is no complete checkpoint.
            CorruptCheckpointError: the named checkpoint is damaged or incomplete.
            WrongRunError: the checkpoint belongs to another model.
        """
        if not resume_from_checkpoint:
            return super().train(None, trial, ignore_keys_for_eval)
        output_dir = Path(self.args.output_dir)
        folder = from_first(checkpoint_to_resume(resume_from_checkpoint, output_dir) if is_first() else Path())
        callbacks = self._checkpointed_callbacks()
        for callback in callbacks:
            callback.load_state(folder)
        if any(callback.ended for callback in callbacks):
            self._load_from_checkpoint(str(folder))
            self.state = transformers.TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME))
            return TrainOutput(self.state.global_step, 0.0, {})
        return super().train(str(folder), trial, ignore_keys_for_eval)

    def _checkpointed_callbacks(self) -> list[CheckpointedCallback]:
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, CheckpointedCallback)]

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint and mark it as complete; only then delete older ones."""
        folder = Path(self._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            delete(folder)  # a killed run may have left an incomplete one
        wait_for_all()
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        wait_for_all()
        if self.args.should_save:
            finish_checkpoint(folder, self._checkpointed_callbacks(), limit, self.state.best_model_checkpoint)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the trainable weights, each tensor once: a state file cannot contain tied weights under two names."""
        super()._save(output_dir, trainable_state(self.model) if state_dict is None else state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_trainable_state(self.model, Path(resume_from_checkpoint))


def _lm_names(batch: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of the token ids and the mask for the language model's loss."""
    prefix = "replay_" if "replay_input_ids" in batch else ""
    return f"{prefix}input_ids", f"{prefix}attention_mask"
