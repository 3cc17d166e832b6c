"""In which order rows are trained on: a function of the seed and the epoch alone.

transformers draws it from each process's global random numbers, which dropout leaves elsewhere in every process and
which nobody kept when a run was interrupted inside an epoch: from the second epoch on, processes would train on some
rows twice and on others not at all, and a resumed run on rows it has seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices


class EpochSampler(torch.utils.data.Sampler[int]):
    """A new order in each epoch, the same on every process and however many there are.

    Args:
        rows: How many there are.
        seed: Of the draw.
        lengths: Tokens of each row, to put rows of about one length into one step; ``None`` for no such grouping.
        step_rows: Rows of one step, over all processes.
    """

    def __init__(self, rows: int, seed: int, lengths: Sequence[int] | None, step_rows: int) -> None:
        self._rows, self._seed, self._step_rows = rows, seed, step_rows
        self._lengths = None if lengths is None else list(lengths)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        # Seeds next to each other give draws that have nothing in common.
        draw = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        if self._lengths is None:
            return iter(torch.randperm(self._rows, generator=draw).tolist())
        return iter(get_length_grouped_indices(self._lengths, self._step_rows, generator=draw))


class SetEpoch(TrainerCallback):  # type: ignore[misc]
    """Tells an order which epoch begins: a data loader that skips what was trained on before does not pass it on."""

    def __init__(self, order: EpochSampler) -> None:
        self._order = order

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Go to the epoch that begins."""
        self._order.set_epoch(int(state.epoch or 0))


def first_rows(batch: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the first rows of a batch; of none, one without labels and without a token to predict, so that there is
    something to run."""
    kept = {key: value[: max(count, 1)] for key, value in batch.items() if isinstance(value, Tensor)}
    if count:
        return {**kept, "labels": {name: target[:count] for name, target in batch["labels"].items()}}
    kept["attention_mask"] = kept["attention_mask"].clone()
    kept["attention_mask"][:, 1:] = 0
    return {**kept, "labels": {}}
