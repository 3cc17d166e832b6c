"""Keep a model's own state, apart from its weights, as it was before a forward pass.

Some models change themselves while they run: BigBird replaces its attention modules after a short input, dynamic
rotary embeddings keep the frequencies of the longest input. Later outputs, the language model's among them, would then
depend on earlier inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Larger buffers, such as causal masks, are never written to and are not copied.
_COPIED_ELEMENTS = 1 << 16
_MODE = "training"
_MISSING = object()


class ModuleState:
    """The attributes, submodules, buffers and configs of a model's modules.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        parts = list(model.modules())
        self._attributes = [(vars(part), dict(vars(part))) for part in parts]
        self._attributes += [(vars(config), dict(vars(config))) for config in _configs(parts)]
        self._submodules = [(part._modules, dict(part._modules)) for part in parts]
        self._buffers = [(part._buffers, dict(part._buffers)) for part in parts if part._buffers]
        self._contents = [(buffer, _version(buffer), buffer.clone()) for buffer in _small_buffers(self._buffers)]

    @property
    def has_other_modules(self) -> bool:
        """Whether the model has replaced one of its modules since."""
        return any(_changed_names(now, before) for now, before in self._submodules)

    @property
    def is_changed(self) -> bool:
        """Whether anything has changed since."""
        return (
            self.has_other_modules
            or any(_changed_names(now, before) for now, before in [*self._attributes, *self._buffers])
            or any(_is_written(*content) for content in self._contents)
        )

    def restore(self) -> None:
        """Undo every change, in place."""
        for now, before in [*self._attributes, *self._submodules, *self._buffers]:
            now.update({name: before[name] for name in _changed_names(now, before)})
        for buffer, version, content in self._contents:
            if _is_written(buffer, version, content):
                with torch.no_grad():
                    buffer.copy_(content)


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Restore a model's state after a forward pass; weights and modes are left alone."""
    before = ModuleState(model)
    try:
        yield
    finally:
        before.restore()


def _configs(parts: list[nn.Module]) -> list[Any]:
    configs = {id(config): config for part in parts if hasattr(config := getattr(part, "config", None), "__dict__")}
    return list(configs.values())


def _changed_names(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Return the names with another value now; new names are what a model prepares once, such as its hooks."""
    return [name for name, value in before.items() if name != _MODE and now.get(name, _MISSING) is not value]


def _small_buffers(buffers: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Tensor]:
    found = [buffer for _, own in buffers for buffer in own.values() if buffer is not None]
    return [buffer for buffer in found if buffer.numel() <= _COPIED_ELEMENTS and not buffer.is_inference()]


def _is_written(buffer: Tensor, version: int, content: Tensor) -> bool:
    return _version(buffer) != version and not torch.equal(buffer, content)


def _version(tensor: Tensor) -> int:
    """Return torch's count of writes to a tensor."""
    return tensor._version
