"""Find the stack that heads read, and its blocks."""

from __future__ import annotations

from torch import nn

from manyheads.backbone.stack.probe import forward_arguments
from manyheads.errors import BackboneError


def find_stack(model: nn.Module) -> nn.Module:
    """Return the module whose ``last_hidden_state`` heads read.

    For an encoder-decoder this is the encoder, else the innermost module that accepts ``input_ids`` (OPT's language
    model skips its own base model).

    Raises:
        BackboneError: no module accepts ``input_ids``.
    """
    if model.config.is_encoder_decoder:  # type: ignore[union-attr]
        stack = model.get_encoder()  # type: ignore[operator]
    else:
        base = model.base_model
        stack = base.get_decoder() if hasattr(base, "get_decoder") else base  # type: ignore[operator]
        if "input_ids" not in forward_arguments(stack):
            stack = base
        if stack is model and model.get_output_embeddings() is not None:
            # Llama 4's text model does not declare where its stack is.
            stack = next((part for part in model.children() if "input_ids" in forward_arguments(part)), stack)
    if not isinstance(stack, nn.Module) or "input_ids" not in forward_arguments(stack):
        raise BackboneError(f"{type(model).__name__}: no stack of layers that takes input_ids was found")
    return stack


def find_blocks(stack: nn.Module, count: int) -> nn.ModuleList:
    """Return the stack's ``count`` blocks: the first list of that length whose modules have one class.

    Raises:
        BackboneError: there is no such list, for instance because all layers share one block (ALBERT).
    """
    for module in stack.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and len({type(block) for block in module}) == 1:
            return module
    raise BackboneError(
        f"{type(stack).__name__}: its {count} layers are no list of blocks of one class (they may share one), so "
        "single layers cannot be tuned; leave top out"
    )
