"""The SHA-256 digest of a model's tensors in memory."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.runtime.hashes import combined_digest


def tensors_digest(module: nn.Module) -> str:
    """Return one digest of every parameter and saved buffer: names, dtypes, shapes and bits.

    Tensors are hashed in parallel threads, as hashlib releases the interpreter lock.
    """
    state = module.state_dict()
    with ThreadPoolExecutor() as pool:
        parts = pool.map(_tensor_digest, state.keys(), state.values())
    return combined_digest(parts)


def _tensor_digest(name: str, tensor: Tensor) -> str:
    header = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
    digest = hashlib.sha256(header.encode())
    content: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    digest.update(content)
    return digest.hexdigest()
