"""What training must leave as it was: weights where it fails, modes and gradients in any case."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone import Backbone
from manyheads.core import HeadedCore
from manyheads.errors import BackboneError
from manyheads.heads import Head


@contextmanager
def restored_on_failure(core: HeadedCore, heads: Mapping[str, Head], changing: Iterable[Tensor]) -> Iterator[None]:
    """Put everything back as it was if training fails or is interrupted.

    Args:
        core: Whose heads and branches they are.
        heads: The heads that train.
        changing: The backbone's tensors that train.
    """
    weights = [(tensor, tensor.detach().clone()) for tensor in changing]
    kept = {name: copy.deepcopy(head) for name, head in heads.items()}
    branches = dict(core.backbone.branches.items())
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, value in weights:
                tensor.copy_(value)
        for name, head in heads.items():
            head.take_over(kept[name])
            head.trained, head.class_weights = kept[name].trained, kept[name].class_weights
        core.backbone.branches.clear()
        core.backbone.branches.update(branches)
        raise


@contextmanager
def recomputing(backbone: Backbone) -> Iterator[None]:
    """Let every block that trains be computed again in the backward, and none afterwards.

    Raises:
        BackboneError: transformers has no gradient checkpointing for this model.
    """
    branches = [backbone.branches.named(name) for name in backbone.branches]
    models: list[Any] = [backbone.model, *(stack for branch in branches for stack in branch.stacks())]
    if not getattr(backbone.model, "supports_gradient_checkpointing", False):
        raise BackboneError(f"{backbone.name}: has no gradient checkpointing; leave gradient_checkpointing out")
    # transformers gave it a new name in 5.2x and warns about the old one.
    word = "activation" if hasattr(backbone.model, "activation_checkpointing_enable") else "gradient"
    for model in models:
        getattr(model, f"{word}_checkpointing_enable")({"use_reentrant": False})
    try:
        yield
    finally:
        for model in models:
            getattr(model, f"{word}_checkpointing_disable")()


@contextmanager
def requiring_gradients(core: HeadedCore, wanted: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let gradients reach these parameters and no others; afterwards every parameter is asked for what it was, every
    part is in the mode it was in, and no gradient is left."""
    chosen = set(wanted)
    before = {parameter: parameter.requires_grad for parameter in core.parameters()}
    modes = {module: module.training for module in core.modules()}
    for parameter in before:
        parameter.requires_grad_(parameter in chosen)
    try:
        yield
    finally:
        for parameter, needed in before.items():
            parameter.requires_grad_(needed)
            parameter.grad = None
        for module, mode in modes.items():
            module.training = mode
