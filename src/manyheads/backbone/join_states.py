"""Join the states of groups of rows that were computed apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.types import States, WordIds


@dataclass(frozen=True)
class Joiner:
    """Joins tensors of row groups in the order of the batch.

    Attributes:
        groups: The row numbers of each group; every row is in one.
    """

    groups: Sequence[Tensor]

    def tensors(self, parts: Sequence[Tensor], padding: float = 0) -> Tensor:
        """Join tensors (rows, ...) or (rows, tokens, ...), with padding after the tokens of shorter groups."""
        if parts[0].dim() > 1:
            longest = max(part.shape[1] for part in parts)
            parts = [_padded(part, longest, padding) for part in parts]
        joined = torch.cat(list(parts))
        return joined[torch.argsort(torch.cat(list(self.groups))).to(joined.device)]

    def states(self, parts: Sequence[States]) -> States:
        """Join the states of all groups, those of branches and prompts too."""
        pooled = [part.pooled for part in parts if part.pooled is not None]
        words = [part.words for part in parts if part.words is not None]
        return States(
            self._hidden([part.hidden for part in parts]),
            self.tensors([part.mask for part in parts], False),
            self.tensors([part.input_ids for part in parts]),
            self.tensors(pooled) if pooled else None,
            self._named([part.branches for part in parts]),
            self._named([part.prompts for part in parts]),
            WordIds(self.tensors([one.ids for one in words], -1), max(one.count for one in words)) if words else None,
        )

    def _hidden(self, parts: Sequence[Mapping[int, Tensor]]) -> dict[int, Tensor]:
        return {layer: self.tensors([part[layer] for part in parts]) for layer in parts[0]}

    def _named(self, parts: Sequence[Mapping[str, States]]) -> dict[str, States]:
        return {name: self.states([part[name] for part in parts]) for name in parts[0]}


def _padded(part: Tensor, length: int, value: float) -> Tensor:
    missing = length - part.shape[1]
    if not missing:
        return part
    return F.pad(part, [*[0, 0] * (part.dim() - 2), 0, missing], value=value)
