"""Copy a stack's weights into another model of the same family, which may end at a lower layer."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from manyheads.backbone.merged import merged_copy
from manyheads.backbone.pooler import SeparatePooler
from manyheads.backbone.stack.find import find_stack
from manyheads.core import HeadedCore
from manyheads.errors import ExportError, listed
from manyheads.export.linear import ExportedHead, Layer, layer_of
from manyheads.taps import Hidden

_POOLER = "pooler."


def block_count(core: HeadedCore) -> int:
    """Return the number of blocks of the backbone."""
    return len(core.backbone.facts.widths) - 1


def cut_config(core: HeadedCore, head: ExportedHead) -> Any:
    """Return a copy of the backbone's config whose stack ends at the layer that a head reads."""
    config = copy.deepcopy(core.backbone.model.config)
    blocks = block_count(core)
    if head.layer != -1:
        _set_blocks(config, blocks, blocks + 1 + head.layer)
    return config


def _set_blocks(config: Any, blocks: int, kept: int) -> None:
    """Lower the number of blocks, and cut every list with an entry for each block."""
    for name, value in vars(config).items():
        if isinstance(value, list | tuple) and len(value) == blocks:
            setattr(config, name, value[:kept])
    config.num_hidden_layers = kept


def load_stack(model: nn.Module, core: HeadedCore, head: ExportedHead) -> nn.Module:
    """Copy the weights of the stack that a head reads into a model's own stack, and return the latter.

    Raises:
        ExportError: the model's stack has weights that the backbone's has not.
    """
    stack, pooler = _stack_read(core, head)
    target = next((module for module in model.modules() if type(module) is type(stack)), None) or find_stack(model)
    tensors = {name: tensor.detach().float() for name, tensor in _named(stack, pooler).items()}
    wanted = target.state_dict()
    absent = [name for name, tensor in wanted.items() if not _fits(tensor, tensors.get(name))]
    lost = [name for name in absent if not name.startswith(_POOLER)]
    if lost:
        raise ExportError(
            f"{head.owner}: {type(model).__name__} has weights that {core.backbone.name} has not: {listed(lost, 3)}; "
            "use the model itself (model.predict)"
        )
    target.load_state_dict({name: tensors[name] for name in wanted if name not in absent}, strict=False)
    return target


def _stack_read(core: HeadedCore, head: ExportedHead) -> tuple[nn.Module, nn.Module | None]:
    """Return the stack that a head reads, with adapters merged into a copy of its weights, and a pooler outside it."""
    if head.branch is None:
        backbone = core.backbone.without_adapters()
        return backbone.stack, backbone.pooler
    branch = core.backbone.branches.named(head.branch)
    if branch.kind == "lora":
        return merged_copy(copy.deepcopy(branch.stack).float()), branch.pooler
    return branch.stack, branch.pooler


def pooler_layer(core: HeadedCore, head: ExportedHead) -> Layer | None:
    """Return the fully connected layer of the pooler that a head reads, or ``None`` if it reads none."""
    if not isinstance(head.tap, Hidden) or head.tap.pool != "pooler":
        return None
    stack, beside = _stack_read(core, head)
    pooler = stack.pooler if beside is None else beside
    assert isinstance(pooler, nn.Module)
    linear = [module for module in pooler.modules() if isinstance(module, nn.Linear)]
    return layer_of(linear[0]) if len(linear) == 1 else None


def _fits(wanted: Tensor, tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.shape == wanted.shape


def _named(stack: nn.Module, pooler: nn.Module | None) -> dict[str, Tensor]:
    """Return the tensors of a stack by name, with those of a pooler that its class leaves out."""
    tensors: dict[str, Tensor] = dict(stack.state_dict())
    if isinstance(pooler, SeparatePooler):
        tensors |= {_POOLER + name: tensor for name, tensor in pooler.dense.state_dict().items()}
    return tensors


def other_states(core: HeadedCore, head: ExportedHead, name: str) -> str:
    """Return the end of a message: why a class does not compute the states that a head reads, and what can be done.

    Args:
        core: Backbone and heads.
        head: The head.
        name: The class.
    """
    blocks = block_count(core)
    if head.layer == -1:
        return f"reads states that {name} does not compute; use the model itself (model.predict)"
    return (
        f"reads layer {head.layer} (of {-blocks - 1} to -1), and a {name} of {blocks + 1 + head.layer} blocks ends in "
        "other states, since its final norm follows them; train the head with layer=-1, or use the model itself "
        "(model.predict)"
    )
