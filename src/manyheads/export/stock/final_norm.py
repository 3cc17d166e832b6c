"""The bias of a classifier whose output layer has none, carried by the norm before it.

With logits ``W (n + beta)``, where ``beta`` is the norm's bias, adding ``pinv(W) b`` to ``beta`` adds ``b`` to the
logits, if the rows of ``W`` are linearly independent.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.hooks import in_this_thread
from manyheads.backbone.stack.probe import probe_batch


def final_norm(stack: nn.Module) -> nn.Module | None:
    """Return the module with a weight and a bias per feature whose output is the last hidden state, or ``None``."""
    outputs: dict[nn.Module, Tensor] = {}
    handles = [
        module.register_forward_hook(in_this_thread(lambda norm, _, output: outputs.update({norm: output})))
        for module in stack.modules()
        if _is_norm(module)
    ]
    try:
        with torch.no_grad():
            output: Any = stack(**probe_batch(stack).batch.inputs())
    finally:
        for handle in handles:
            handle.remove()
    last = output.last_hidden_state
    found = [norm for norm, states in outputs.items() if states.shape == last.shape and torch.equal(states, last)]
    return found[-1] if found else None


def _is_norm(module: nn.Module) -> bool:
    sizes = [getattr(module, name, None) for name in ("weight", "bias")]
    return all(isinstance(size, Tensor) and size.dim() == 1 for size in sizes)


def add_bias(norm: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Change a norm's bias so that the logits of the output layer ``weight`` (labels, width) grow by ``bias``."""
    added = torch.linalg.pinv(weight.double()) @ bias.double()
    with torch.no_grad():
        norm.bias.add_(added.float().to(norm.bias.device))  # type: ignore[operator]
