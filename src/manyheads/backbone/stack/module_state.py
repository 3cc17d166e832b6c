"""Keep what a forward pass changes in a model besides its output.

Some architectures switch for good when they see a short text (BigBird replaces its sparse attention), which would
change what the language model computes afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

_PLAIN = (str, int, float, bool, tuple, type(None))


@dataclass(frozen=True)
class ModuleState:
    """The plain attributes and submodules of every module of a model.

    Attributes:
        attributes: Module -> its attributes that are strings, numbers, tuples or ``None``.
        children: Module -> its submodules by name.
    """

    attributes: dict[nn.Module, dict[str, Any]]
    children: dict[nn.Module, dict[str, nn.Module | None]]

    @staticmethod
    def of(model: nn.Module) -> ModuleState:
        """Return the present state of a model."""
        modules = list(model.modules())
        return ModuleState(
            {part: {key: value for key, value in vars(part).items() if isinstance(value, _PLAIN)} for part in modules},
            {part: dict(part._modules) for part in modules},
        )

    def restore(self) -> None:
        """Put every module back into this state."""
        for part, attributes in self.attributes.items():
            vars(part).update(attributes)
            part._modules.clear()
            part._modules.update(self.children[part])


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Restore a model's state after a forward pass."""
    before = ModuleState.of(model)
    try:
        yield
    finally:
        before.restore()
