"""The methods that are compared, the simplest first: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manyheads.training.frozen.method import Frozen
from manyheads.training.method import Method
from manyheads.training.tuning.fork import Fork
from manyheads.training.tuning.full import Full
from manyheads.training.tuning.lora import LoRA

# From the backbone's number of blocks to a method. Equal methods, as of a backbone with few blocks, are tried once.
KEEPING: tuple[Callable[[int], Method], ...] = (
    lambda blocks: Frozen(),
    lambda blocks: Fork(top=min(2, blocks), lr=3e-4),
    lambda blocks: Fork(top=max(min(2, blocks), blocks // 2), lr=3e-4),
    lambda blocks: LoRA(lr=1e-3),
)
# Methods that change the backbone's own weights.
CHANGING: tuple[Callable[[int], Method], ...] = (
    lambda blocks: Full(),
    lambda blocks: Full(lr=1e-4),
)

# Settings that tell candidates apart.
_SHOWN = ("top", "r", "lr")


def candidates(blocks: int, keep_lm: bool) -> list[Method]:
    """Return the methods to compare, the simplest first.

    Args:
        blocks: The backbone's number of blocks.
        keep_lm: Leave out those that change the backbone's own weights.
    """
    makers: Sequence[Callable[[int], Method]] = KEEPING if keep_lm else (*KEEPING, *CHANGING)
    return list(dict.fromkeys(make(blocks) for make in makers))


def name_of(method: Method) -> str:
    """Return a method with its main settings, such as ``Fork(top=2, lr=0.0001)``."""
    settings = {name: getattr(method, name, None) for name in _SHOWN}
    shown = ", ".join(f"{name}={value:g}" for name, value in settings.items() if value is not None)
    return f"{type(method).__name__}({shown})"
