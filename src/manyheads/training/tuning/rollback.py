"""State that training restores: weights if it fails, modes and gradients in any case."""

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
    """Restore the model if training fails or is interrupted.

    Args:
        core: The backbone and all heads.
        heads: The heads that train.
        changing: The backbone's tensors that train.
    """
    weights = [(tensor, tensor.detach().clone()) for tensor in changing]
    before = {name: copy.deepcopy(head) for name, head in heads.items()}
    branches = dict(core.backbone.branches.items())
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, value in weights:
                tensor.copy_(value)
        for name, head in heads.items():
            head.take_over(before[name])
            head.trained, head.class_weights = before[name].trained, before[name].class_weights
            head.decision = before[name].decision
        core.backbone.branches.clear()
        core.backbone.branches.update(branches)
        raise


@contextmanager
def recomputing(backbone: Backbone) -> Iterator[None]:
    """Turn gradient checkpointing on inside the block.

    Raises:
        BackboneError: transformers has no gradient checkpointing for this model.
    """
    branches = [backbone.branches.named(name) for name in backbone.branches]
    models: list[Any] = [backbone.model, *(stack for branch in branches for stack in branch.stacks())]
    if not getattr(backbone.model, "supports_gradient_checkpointing", False):
        raise BackboneError(
            f"{backbone.name}: does not support gradient checkpointing; leave gradient_checkpointing out"
        )
    # transformers renamed it in 5.2x and warns about the old name.
    kind = "activation" if hasattr(backbone.model, "activation_checkpointing_enable") else "gradient"
    for model in models:
        getattr(model, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    try:
        yield
    finally:
        for model in models:
            getattr(model, f"{kind}_checkpointing_disable")()


@contextmanager
def requiring_gradients(core: HeadedCore, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Require gradients of these parameters only; then restore ``requires_grad`` and the mode of every module, and
    delete all gradients."""
    chosen = set(parameters)
    before = {parameter: parameter.requires_grad for parameter in core.parameters()}
    modes = {module: module.training for module in core.modules()}
    for parameter in before:
        parameter.requires_grad_(parameter in chosen)
    try:
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)
            parameter.grad = None
        for module, mode in modes.items():
            module.training = mode
