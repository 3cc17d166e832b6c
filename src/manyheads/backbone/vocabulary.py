"""New rows for new tokens, wherever a model has one row per token: embeddings, language-model head, and its biases.

transformers resizes the model, since families differ in what has to be resized with the embeddings; which tensors those
are is seen on a copy without memory, not listed by family. transformers draws new rows at random: all are overwritten.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.errors import BackboneError, one_line

# How transformers fills new rows from the statistics of old ones, of which a copy without contents has none; families
# whose own resizing takes no settings (Marian, MobileBERT) always call it.
_DRAWS = (
    "_init_added_embeddings_weights_with_mean",
    "_init_added_lm_head_weights_with_mean",
    "_init_added_lm_head_bias_with_mean",
)


def vocabulary_size(model: nn.Module) -> int:
    """Return how many token ids a model has embeddings for; it may be more than its tokenizer uses."""
    return int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]


def grow(model: nn.Module, tokens: Mapping[int, Sequence[int]]) -> None:
    """Give new tokens rows: each the mean of the rows of older tokens, in every tensor that has a row per token.

    Rows of all other tokens keep their bits; a matrix with rows to spare keeps its size; tied tensors stay tied. A row
    that comes into being between the new ones, for a token that had none, is the mean of all rows.

    Args:
        model: A Hugging Face model; changed in place.
        tokens: New token id -> ids of the tokens whose rows it starts from.

    Raises:
        BackboneError: a model that cannot be resized, or that has no row for a token to start from.
    """
    if not tokens:
        return
    rows = vocabulary_size(model)
    beyond = [token for pieces in tokens.values() for token in pieces if not 0 <= token < rows]
    if beyond:
        raise BackboneError(
            f"{type(model).__name__}: token {beyond[0]} has no embedding among {rows}, so no new word can start from "
            "it; resize the embeddings to the tokenizer first"
        )
    axes = vocabulary_axes(model)
    old = {name: tensor.detach() for name, tensor in _tensors(model).items() if name in axes}
    if max(tokens) >= rows:
        _resize(model, max(tokens) + 1)
    new = _tensors(model)
    with torch.no_grad():
        for name, axis in axes.items():
            _fill(new[name].detach(), old[name], axis, tokens)


def vocabulary_axes(model: nn.Module) -> dict[str, int]:
    """Return the parameters and buffers that have a row per token, each with the dimension that counts them.

    Raises:
        BackboneError: transformers cannot resize this model, or not its language-model head with it.
    """
    hollow = _hollow(model)
    before = {name: tensor.shape for name, tensor in _tensors(hollow).items()}
    try:
        _resize(hollow, vocabulary_size(hollow) + 1)
    except (TypeError, ValueError, NotImplementedError, AttributeError, RuntimeError) as error:
        raise BackboneError(
            f"{type(model).__name__}: its embeddings cannot be resized: {one_line(error)}; its tokenizer can learn no "
            "words"
        ) from None
    after = {name: tensor.shape for name, tensor in _tensors(hollow).items()}
    axes = {name: _axis(shape, after[name]) for name, shape in before.items() if after.get(name, shape) != shape}
    _check_head(hollow, axes)
    return axes


def follow(copied: Iterable[nn.Module], model: nn.Module, before: Mapping[int, str]) -> None:
    """Let copies of a model's parts, which share its parameters, share those that it has now.

    Args:
        copied: Modules that hold parameters of the model.
        model: After :func:`grow`.
        before: From :func:`named_by_identity`, before it.
    """
    now = _tensors(model)
    for module in (part for whole in copied for part in whole.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            known = before.get(id(parameter))
            if known is not None and now[known] is not parameter:
                setattr(module, name, now[known])
        if isinstance(module, nn.Embedding):
            module.num_embeddings = module.weight.shape[0]


def named_by_identity(model: nn.Module) -> dict[int, str]:
    """Return every parameter's name by its identity, which holds as long as the model lives and keeps it."""
    return {id(parameter): name for name, parameter in model.named_parameters()}


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers under every name that they have."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(model.named_buffers(remove_duplicate=False))}


def _hollow(model: nn.Module) -> nn.Module:
    """Return a copy of a model whose tensors have shapes and no contents."""
    memo: dict[int, Any] = {id(buffer): buffer.detach().to("meta") for buffer in model.buffers()}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    hollow = copy.deepcopy(model, memo)
    for name in _DRAWS:
        setattr(hollow, name, lambda *_: None)
    return hollow


def _resize(model: nn.Module, rows: int) -> None:
    resize: Any = model.resize_token_embeddings
    plain = {"mean_resizing": False} if "mean_resizing" in inspect.signature(resize).parameters else {}
    device = next(model.parameters()).device
    # What it draws is overwritten, and nobody else's draws are to depend on it.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        resize(rows, **plain)
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None:
        head.train(model.training)


def _axis(before: torch.Size, after: torch.Size) -> int:
    return next(axis for axis, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)


def _check_head(model: nn.Module, axes: Mapping[str, int]) -> None:
    head = model.get_output_embeddings()  # type: ignore[operator]
    grown = {id(tensor) for name, tensor in _tensors(model).items() if name in axes}
    if head is not None and any(id(parameter) not in grown for parameter in head.parameters()):
        raise BackboneError(
            f"{type(model).__name__}: transformers does not resize its language-model head with its embeddings, so its "
            "tokenizer can learn no words"
        )


def _fill(new: Tensor, old: Tensor, axis: int, tokens: Mapping[int, Sequence[int]]) -> None:
    """Write new rows; ``old`` may be the same tensor, as no new row is read."""
    added = [token for token in range(old.shape[axis], new.shape[axis]) if token not in tokens]
    if added:
        new.index_copy_(axis, _ids(added, new), _mean(old, axis).expand(*_widened(new, axis, len(added))))
    for token, pieces in tokens.items():
        new.index_copy_(axis, _ids([token], new), _mean(old.index_select(axis, _ids(pieces, old)), axis))


def _mean(rows: Tensor, axis: int) -> Tensor:
    return rows.float().mean(axis, keepdim=True).to(rows.dtype)


def _ids(tokens: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(tokens, device=like.device)


def _widened(tensor: Tensor, axis: int, size: int) -> list[int]:
    return [size if at == axis else length for at, length in enumerate(tensor.shape)]
