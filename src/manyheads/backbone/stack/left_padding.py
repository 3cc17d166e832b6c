"""Convert a right-padded batch to left padding, which generation needs, and its states back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.types import Batch


@dataclass(frozen=True)
class LeftPadded:
    """A batch for ``generate``, left-padded by moving each row.

    Attributes:
        batch: The token tensors.
        shifts: (rows, 1) number of columns by which each row moved to the right.
    """

    batch: Batch
    shifts: Tensor

    @staticmethod
    def not_moved(padded: RightPadded, pad: int) -> LeftPadded:
        """Return a batch in which no row moves, for an encoder."""
        ids = padded.batch.input_ids.masked_fill(~padded.mask, pad)
        return LeftPadded(replace(padded.batch, input_ids=ids), torch.zeros_like(ids[:, :1]))

    @property
    def moves(self) -> bool:
        """Whether any row moved."""
        return bool(self.shifts.any())

    def to_right(self, states: Tensor) -> Tensor:
        """Return states (rows, tokens, width) with each row moved back; those of padding are arbitrary."""
        last = states.shape[1] - 1
        columns = torch.arange(last + 1, device=states.device) + self.shifts.to(states.device)
        return states.gather(1, columns.clamp(max=last).unsqueeze(-1).expand_as(states))


def left_pad(padded: RightPadded, pad: int) -> LeftPadded:
    """Return a batch left-padded.

    Args:
        padded: The batch; every row has at least one real token.
        pad: The id of padding.
    """
    tokens = padded.mask.shape[1]
    shifts = tokens - padded.mask.sum(dim=1, keepdim=True)
    columns = torch.arange(tokens, device=shifts.device) - shifts
    real = columns >= 0
    fillers = dict.fromkeys(padded.batch.inputs(), 0) | {"input_ids": pad}
    moved = {
        name: tensor.gather(1, columns.clamp(min=0)).masked_fill(~real, fillers[name])
        for name, tensor in padded.batch.inputs().items()
    }
    return LeftPadded(replace(padded.batch, **moved), shifts)
