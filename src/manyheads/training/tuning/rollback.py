"""State that training restores: weights if it fails, modes and gradients in any case."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    restore = _restorer(core, heads, changing)
    try:
        yield
    except BaseException:
        restore()
        raise


@contextmanager
def restored_afterwards(core: HeadedCore, heads: Mapping[str, Head], changing: Iterable[Tensor]) -> Iterator[None]:
    """Restore the model in any case, after training that only measures something; see ``restored_on_failure``."""
    restore = _restorer(core, heads, changing)
    try:
        yield
    finally:
        restore()


def _restorer(core: HeadedCore, heads: Mapping[str, Head], changing: Iterable[Tensor]) -> Callable[[], None]:
    """Return a function that restores the model to its present state, to be called once."""
    weights = [(tensor, tensor.detach().clone()) for tensor in changing]
    before = {name: copy.deepcopy(head) for name, head in heads.items()}
    branches = dict(core.backbone.branches.items())
    token_budget = core.backbone.token_budget

    def restore() -> None:
        with torch.no_grad():
            for tensor, value in weights:
                tensor.copy_(value)
        for name, head in heads.items():
            head.take_over(before[name])
            head.trained, head.class_weights = before[name].trained, before[name].class_weights
            head.decision = before[name].decision
        core.backbone.branches.clear()
        core.backbone.branches.update(branches)
        core.backbone.use_token_budget(token_budget)

    return restore


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
