"""A copy of a backbone for tracing: fp32, on the CPU, in eval mode, with an attention that can be traced.

It shares every tensor that is in fp32 on the CPU already. Tracing changes what it likes in the copy's modules, and
nothing in the model.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone import Backbone
from manyheads.backbone.branches.branches import Branches
from manyheads.backbone.forward import ForwardPass
from manyheads.errors import ExportError

# Implementations of attention that are plain torch operations.
_TRACEABLE = ("sdpa", "eager")


def traceable_pass(backbone: Backbone, branches: Collection[str]) -> ForwardPass:
    """Return the forward pass of a copy of a backbone.

    Args:
        backbone: The backbone.
        branches: Names of the branches that are read; no others are copied.

    Raises:
        ExportError: quantized weights.
    """
    if backbone.quantized:
        raise ExportError(
            f"{backbone.name}: its weights are quantized; load the model without quantization_config, and export from "
            "there"
        )
    backbone.check_values()
    trunk, read = backbone.trunk, Branches(backbone.name)
    for name in branches:
        read[name] = backbone.branches.named(name)
    tensors = [*backbone.parameters(), *backbone.buffers()]
    memo: dict[int, Any] = {id(tensor): _in_fp32_on_cpu(tensor) for tensor in tensors}
    model, pooler, copied = copy.deepcopy((trunk.model, trunk.pooler, read), memo)
    for module in (model, pooler, copied):
        if module is not None:
            _prepare(module)
    # Nothing has to be restored in a copy.
    return ForwardPass(replace(trunk, model=model, pooler=pooler), copied, lambda _: {}, lambda _: nullcontext())


def _in_fp32_on_cpu(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    moved = tensor.detach().to("cpu", dtype)
    if moved.data_ptr() == tensor.data_ptr() and moved.dtype == tensor.dtype:
        return tensor
    return nn.Parameter(moved, requires_grad=False) if isinstance(tensor, nn.Parameter) else moved


def _prepare(module: nn.Module) -> None:
    module.eval()
    configs = {id(config): config for part in module.modules() if (config := getattr(part, "config", None)) is not None}
    for config in configs.values():
        if getattr(config, "_attn_implementation", "sdpa") not in _TRACEABLE:
            config._attn_implementation = "eager"
