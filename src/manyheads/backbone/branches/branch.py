"""A branch: a second way through the backbone's stack, which only heads read.

It is a copy of the stack in structure alone: every weight that the branch does not train is the backbone's own tensor,
so that it costs the memory of what it trains, and the language model, which runs on the backbone, cannot change.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from manyheads.backbone.stack.outputs import states_of
from manyheads.backbone.stack.probe import forward_settings
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.errors import BackboneError
from manyheads.types import Request, States


class Branch(nn.Module, ABC):
    """One branch.

    Attributes:
        stack: The copy.
        pooler: The branch's own copy of a pooler that lies beside the backbone, or ``None``.
        layers: Number of hidden states, the embeddings' output included.
    """

    kind: ClassVar[str]

    def __init__(self, stack: nn.Module, pooler: nn.Module | None, layers: int) -> None:
        super().__init__()
        self.stack = stack
        self.pooler = pooler
        self.layers = layers
        self.training = stack.training

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what it takes, beside its weights, to build it again on the same backbone, as plain JSON."""

    @abstractmethod
    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return what the branch trains, by the names that it is saved under; all else is the backbone's."""

    def stacks(self) -> list[nn.Module]:
        """Return the modules that it runs in, one for each way through it."""
        return [self.stack]

    def entry_layers(self, request: Request) -> frozenset[int]:
        """Return the backbone's layers that :meth:`resume_from_states` needs; empty if the branch must run whole."""
        return frozenset()

    def resume_from_states(self, padded: RightPadded, request: Request, known: Mapping[int, Tensor]) -> States:
        """Run the branch from the backbone's hidden states; only if :meth:`entry_layers` names some.

        Args:
            padded: A right-padded batch.
            request: The states needed.
            known: Hidden states (rows, tokens, width) of the layers in :meth:`entry_layers`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot resume from hidden states")

    def forward(self, arranged: RightPadded, request: Request) -> States:
        """Run the branch from the token ids on.

        Args:
            arranged: A right-padded batch.
            request: What the taps need.
        """
        settings = forward_settings(self.stack, hidden_states=bool(request.layers - {-1}))
        return states_of(self.stack(**arranged.batch.inputs(), **settings), arranged, request, self.pooler, self.layers)


def sharing_copy(module: nn.Module, own: Iterable[nn.Parameter] = ()) -> nn.Module:
    """Return a copy of a module whose parameters are the module's own, but for those named, which are copied too."""
    copied = {id(parameter) for parameter in own}
    memo: dict[int, Any] = {id(tensor): tensor for tensor in module.parameters() if id(tensor) not in copied}
    return copy.deepcopy(module, memo)


def load_trainable(branch: Branch, tensors: Mapping[str, Tensor]) -> None:
    """Put saved weights in place of those a branch trains, in the precision that the branch has.

    Raises:
        BackboneError: names or shapes that differ, or numbers that are no weights.
    """
    own = branch.trainable_parameters()
    if set(own) != set(tensors):
        raise BackboneError(f"{sorted(set(own) ^ set(tensors))[0]} is in only one of branch and file")
    for name, parameter in own.items():
        stored = tensors[name]
        if parameter.shape != stored.shape or not stored.is_floating_point():
            raise BackboneError(
                f"{name} is {stored.dtype} {tuple(stored.shape)} in the file, and {tuple(parameter.shape)} here"
            )
    for name, parameter in own.items():
        parameter.data.copy_(tensors[name])
