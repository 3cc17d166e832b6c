"""A branch: a second way through the backbone's stack that only heads read.

A branch is a copy of the stack that shares every weight it does not train with the backbone. It costs only the memory
of its trained weights, and the language model, which runs on the backbone, cannot change.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from manyheads.backbone.stack.layer_reader import LayerReader
from manyheads.backbone.stack.probe import forward_settings
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.errors import BackboneError
from manyheads.types import Request, States


class Branch(nn.Module, ABC):
    """A second way through the backbone's stack.

    Attributes:
        stack: The copy of the stack.
        pooler: The branch's own copy of a pooler outside the stack, or ``None``.
        reader: Reads hidden states by layer.
    """

    kind: ClassVar[str]

    def __init__(self, stack: nn.Module, pooler: nn.Module | None, reader: LayerReader) -> None:
        super().__init__()
        self.stack = stack
        self.pooler = pooler
        self.reader = reader
        self.training = stack.training

    @property
    def layers(self) -> int:
        """Number of hidden states, the embeddings' output included."""
        return self.reader.layers

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings that rebuild the untrained branch on the same backbone, as plain JSON."""

    @abstractmethod
    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the branch's own parameters by the names they are saved under; all others are the backbone's."""

    def stacks(self) -> list[nn.Module]:
        """Return the modules that the branch runs in: the whole stack, and the part that resumes if there is one."""
        return [self.stack]

    def entry_layers(self, request: Request) -> frozenset[int]:
        """Return the backbone's layers that ``resume_from_states`` needs; empty if the branch must run whole."""
        return frozenset()

    def resume_from_states(self, padded: RightPadded, request: Request, known: Mapping[int, Tensor]) -> States:
        """Run the branch from the backbone's hidden states, if ``entry_layers`` returns any layer.

        Args:
            padded: A right-padded batch.
            request: The states that taps need.
            known: Layer -> hidden states (rows, tokens, width), for every layer of ``entry_layers``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot resume from hidden states")

    def forward(self, padded: RightPadded, request: Request) -> States:
        """Run the branch from token ids, up to the highest requested layer.

        Args:
            padded: A right-padded batch.
            request: The states that taps need.
        """

        def run(hidden_states: bool) -> Any:
            return self.stack(**padded.batch.inputs(), **forward_settings(self.stack, hidden_states))

        return self.reader.read(self.stack, run, padded, request, self.pooler)


def sharing_copy(module: nn.Module, own: Iterable[nn.Parameter] = ()) -> nn.Module:
    """Return a copy of a module that shares all of its parameters except ``own``, which are copied."""
    copied = {id(parameter) for parameter in own}
    memo: dict[int, Any] = {id(tensor): tensor for tensor in module.parameters() if id(tensor) not in copied}
    return copy.deepcopy(module, memo)


def load_trainable(branch: Branch, tensors: Mapping[str, Tensor]) -> None:
    """Load saved weights into a branch's own parameters, in the branch's precision.

    Raises:
        BackboneError: other names, shapes or dtypes than the branch has.
    """
    own = branch.trainable_parameters()
    if set(own) != set(tensors):
        raise BackboneError(f"{sorted(set(own) ^ set(tensors))[0]} is in only one of branch and file")
    for name, parameter in own.items():
        saved = tensors[name]
        if parameter.shape != saved.shape or not saved.is_floating_point():
            raise BackboneError(
                f"{name} is {saved.dtype} {tuple(saved.shape)} in the file, and {tuple(parameter.shape)} in the branch"
            )
    for name, parameter in own.items():
        parameter.data.copy_(tensors[name])
