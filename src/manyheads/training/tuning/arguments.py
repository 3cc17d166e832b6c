"""The ``TrainingArguments`` of a tuning run, from the method's settings."""

from __future__ import annotations

import copy
import math

import torch
import transformers

from manyheads.errors import MethodError
from manyheads.features import precision
from manyheads.runtime.processes import process_count
from manyheads.training.tuning.method import Tuning


def training_arguments(
    method: Tuning, rows: int, seed: int, device: torch.device, output_dir: str
) -> transformers.TrainingArguments:
    """Return the arguments for transformers' Trainer.

    Args:
        method: The settings. A copy of ``method.trainer`` is returned if it is given.
        rows: Number of training rows.
        seed: Seed of every random choice.
        device: The backbone's device.
        output_dir: Folder of the checkpoints.

    Raises:
        MethodError: ``batch_rows`` is not a multiple of the number of processes.
    """
    if method.trainer is not None:
        arguments = copy.copy(method.trainer)
        arguments.remove_unused_columns = False  # the collators read columns that are no arguments of forward
        return arguments
    on_cpu = device.type == "cpu"
    return transformers.TrainingArguments(
        output_dir=output_dir,
        num_train_epochs=method.epochs,
        per_device_train_batch_size=_rows_per_process(method),
        warmup_steps=round(0.06 * math.ceil(rows / method.batch_rows * method.epochs)),
        train_sampling_strategy="group_by_length",
        seed=seed,
        bf16=method.dtype == "bfloat16" or (method.dtype == "auto" and precision.has_fast_bfloat16(device)),
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and process_count() > 1 else None,
        ddp_find_unused_parameters=True,  # heads without a label in a step
        ddp_broadcast_buffers=False,  # buffers do not change
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=False,
        save_strategy=_save_strategy(method),
        save_steps=method.save_steps or 500,
        save_total_limit=2,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def _save_strategy(method: Tuning) -> str:
    if method.checkpoints is None:
        return "no"
    return "epoch" if method.save_steps is None else "steps"


def _rows_per_process(method: Tuning) -> int:
    processes = process_count()
    rows, left = divmod(method.batch_rows, processes)
    if left or not rows:
        raise MethodError(
            f"{method.name}: batch_rows={method.batch_rows} cannot be divided evenly among {processes} processes; "
            f"choose a multiple of {processes}"
        )
    return rows
