"""The trained pooler: part of the class, or loaded from the checkpoint if the class leaves it out; never a random one.

``bert-base-german-cased`` loads as ``BertForMaskedLM``, whose class drops ``bert.pooler.*``: this pooler is loaded
beside the model. A ``BertModel`` loaded from files without a pooler has a random one, which is never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn


class SeparatePooler(nn.Module):
    """A pooler that the checkpoint contains and the model's class leaves out.

    Args:
        dense: The family's own pooler module, with the checkpoint's weights.
        activation: The activation after it, if the family applies it outside the pooler module (ALBERT).
        prefix: Prefix of its weights' names in the checkpoint, without the last dot.
    """

    def __init__(self, dense: nn.Module, activation: nn.Module | None, prefix: str) -> None:
        super().__init__()
        self.dense = dense
        self.activation = activation
        self.prefix = prefix

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (rows, width) from right-padded last hidden states (rows, tokens, width)."""
        if isinstance(self.dense, nn.Linear):
            pooled: Tensor = self.dense(hidden[:, 0])
            return pooled if self.activation is None else self.activation(pooled)
        pooled = self.dense(hidden)
        return pooled

    def named_weights(self) -> dict[str, Tensor]:
        """Return the weights by their names in the checkpoint."""
        return {f"{self.prefix}.{name}": tensor for name, tensor in self.dense.state_dict().items()}


def load_separate_pooler(stack: nn.Module, files: Sequence[Path], unexpected: Sequence[str]) -> SeparatePooler | None:
    """Return the pooler built from weights that the model's class leaves out, or ``None`` if there are none.

    Args:
        stack: The stack; its class, built with default arguments, has a pooler.
        files: The checkpoint's weight files.
        unexpected: Names of the weights that the model's class leaves out.
    """
    names = [name for name in unexpected if ".pooler." in f".{name}"]
    if not names:
        return None
    twin = _default_twin(stack)
    dense = getattr(twin, "pooler", None)
    if not isinstance(dense, nn.Module):
        return None
    prefix = names[0][: f".{names[0]}".index(".pooler.") + len("pooler")]
    weights = {name.removeprefix(f"{prefix}."): tensor for name, tensor in read_tensors(files, names).items()}
    example = next(stack.parameters())
    dense = dense.to_empty(device=example.device).to(example.dtype)
    dense.load_state_dict(weights, strict=True)
    activation = getattr(twin, "pooler_activation", None)
    return SeparatePooler(dense, activation, prefix).eval()


def missing_reason(stack: nn.Module, outside: SeparatePooler | None, random: bool) -> str:
    """Return why there is no trained pooler; empty if there is one.

    Args:
        stack: The stack.
        outside: A pooler loaded from the checkpoint, outside the stack.
        random: Whether the stack's own pooler was initialized at random while loading.
    """
    if outside is not None:
        return ""
    if not in_class(stack):
        return "neither its class nor its files have one"
    if random:
        return "its files have none, and the one in memory is random"
    if looks_untrained(stack):
        return "the one in memory is untrained"
    return ""


def output_width(stack: nn.Module, outside: SeparatePooler | None, hidden: int) -> int:
    """Return the size of the pooler's output; ``hidden``, the size of its input, if it has no linear layer."""
    pooler = outside if outside is not None else stack.pooler
    sizes = [part.out_features for part in pooler.modules() if isinstance(part, nn.Linear)]  # type: ignore[union-attr]
    return sizes[-1] if sizes else hidden


def file_tensors(model: nn.Module, stack_path: str, outside: SeparatePooler | None, random: bool) -> dict[str, Tensor]:
    """Return the tensors that a model's files should contain: a separate pooler's too, an untrained pooler's not.

    Args:
        model: The Hugging Face model.
        stack_path: Name of its stack; empty if the model is the stack.
        outside: A pooler loaded from the checkpoint, outside the stack.
        random: Whether the stack's own pooler was initialized at random while loading.
    """
    state = dict(model.state_dict())
    if outside is not None:
        return state | outside.named_weights()
    stack = model.get_submodule(stack_path)
    if in_class(stack) and missing_reason(stack, outside, random):
        prefix = f"{stack_path}.pooler." if stack_path else "pooler."
        return {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
    return state


def in_class(stack: nn.Module) -> bool:
    """Return whether the stack contains a pooler."""
    return isinstance(getattr(stack, "pooler", None), nn.Module)


def looks_untrained(stack: nn.Module) -> bool:
    """Return whether the pooler's biases are all exactly zero, as initialized; training always changes them."""
    biases = [tensor for name, tensor in stack.pooler.named_parameters() if name.endswith("bias")]  # type: ignore[union-attr]
    return bool(biases) and not any(bool(tensor.any()) for tensor in biases)


def read_tensors(files: Sequence[Path], names: Sequence[str]) -> dict[str, Tensor]:
    """Return the named tensors from safetensors files, or from PyTorch files read with ``weights_only``."""
    found: dict[str, Tensor] = {}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                found |= {name: file.get_tensor(name) for name in set(file.keys()) & set(names)}
        elif path.suffix == ".bin":
            state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            found |= {name: state[name] for name in set(state) & set(names)}
    return found


def _default_twin(stack: nn.Module) -> nn.Module:
    """Return an instance of the stack's class with default arguments, on the meta device."""
    with torch.device("meta"):
        twin: nn.Module = type(stack)(stack.config)
    return twin
