"""The order of the training rows, a function of the seed and the epoch alone.

transformers draws it from the global random state of each process. Dropout moves that state differently in every
process, and a run that is interrupted inside an epoch does not save it. From the second epoch on, processes would then
train on some rows twice and on others not at all, and a resumed run would repeat rows of the interrupted epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices


class EpochSampler(torch.utils.data.Sampler[int]):
    """A new order in each epoch, the same on every process and for any number of processes.

    Args:
        rows: Number of rows.
        seed: Random seed.
        lengths: Tokens of each row, to group rows of similar length into one step; ``None`` for no grouping.
        step_rows: Rows of one step, over all processes.
    """

    def __init__(self, rows: int, seed: int, lengths: Sequence[int] | None, step_rows: int) -> None:
        self._rows, self._seed, self._step_rows = rows, seed, step_rows
        self._lengths = None if lengths is None else list(lengths)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        # Draws of neighboring seeds are independent.
        generator = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        if self._lengths is None:
            return iter(torch.randperm(self._rows, generator=generator).tolist())
        return iter(get_length_grouped_indices(self._lengths, self._step_rows, generator=generator))


class SetEpoch(TrainerCallback):  # type: ignore[misc]
    """Set the sampler's epoch: a data loader that skips the batches before a checkpoint does not pass it on."""

    def __init__(self, sampler: EpochSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Set the sampler's epoch."""
        self._sampler.set_epoch(int(state.epoch or 0))


def first_rows(batch: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the first rows of a batch; for a count of 0, one row without labels and without a token to predict."""
    first = {key: value[: max(count, 1)] for key, value in batch.items() if isinstance(value, Tensor)}
    if count:
        return {**first, "labels": {name: target[:count] for name, target in batch["labels"].items()}}
    first["attention_mask"] = first["attention_mask"].clone()
    first["attention_mask"][:, 1:] = 0
    return {**first, "labels": {}}
