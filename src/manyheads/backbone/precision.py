"""The precision of a model's weights: quantized or not, and a copy in another precision."""

from __future__ import annotations

import copy

import torch
from torch import nn

_QUANTIZED_DTYPES = frozenset({torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2})


def is_quantized(model: nn.Module) -> bool:
    """Return whether some of a model's weights are quantized and so cannot be trained."""
    tensors = [*model.parameters(), *model.buffers()]
    return bool(getattr(model, "is_quantized", False)) or any(tensor.dtype in _QUANTIZED_DTYPES for tensor in tensors)


def is_in_precision(stack: nn.Module, dtype: torch.dtype) -> bool:
    """Return whether all floating-point parameters of a stack have this dtype."""
    return {parameter.dtype for parameter in stack.parameters() if parameter.is_floating_point()} == {dtype}


def converted_copy(model: nn.Module, stack: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a model whose stack has its parameters in this dtype; all other tensors are shared."""
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    converted = {id(parameter): _as_dtype(parameter, dtype) for parameter in stack.parameters()}
    return copy.deepcopy(model, shared | converted)


def _as_dtype(parameter: nn.Parameter, dtype: torch.dtype) -> nn.Parameter:
    if not parameter.is_floating_point():
        return parameter
    return nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
