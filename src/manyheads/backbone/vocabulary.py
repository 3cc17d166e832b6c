"""Add rows for new tokens to every tensor with one row per token: embeddings, LM head and its biases.

transformers resizes the model, as families differ in the tensors that are resized with the embeddings. These tensors
are found on a copy without memory, not listed by family. transformers initializes new rows at random; all are
overwritten.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.errors import BackboneError, one_line

# transformers' methods that fill new rows from the statistics of old ones, which a meta copy lacks; families with a
# resizing method of their own (Marian, MobileBERT) always call them.
_INITIALIZERS = (
    "_init_added_embeddings_weights_with_mean",
    "_init_added_lm_head_weights_with_mean",
    "_init_added_lm_head_bias_with_mean",
)


def vocabulary_size(model: nn.Module) -> int:
    """Return the number of token ids that a model has embeddings for; its tokenizer may use fewer."""
    try:
        return int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    except (NotImplementedError, AttributeError):
        raise BackboneError(
            f"{type(model).__name__}: has no table of input embeddings with a row per token; load another backbone"
        ) from None


def add_rows(model: nn.Module, tokens: Mapping[int, Sequence[int]]) -> None:
    """Add rows for new tokens to every tensor with a row per token; each is the mean of existing rows.

    Rows of other tokens keep their bits, a matrix with unused rows keeps its size, and tied tensors stay tied. New rows
    that belong to no new token are the mean of all rows.

    Args:
        model: A Hugging Face model; changed in place.
        tokens: New token id -> ids of the existing tokens whose rows are averaged.

    Raises:
        BackboneError: the model cannot be resized, or an existing token has no row.
    """
    if not tokens:
        return
    rows = vocabulary_size(model)
    beyond = [token for pieces in tokens.values() for token in pieces if not 0 <= token < rows]
    if beyond:
        raise BackboneError(
            f"{type(model).__name__}: token {beyond[0]} has no embedding among {rows}, so no new row can start from "
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
    """Return parameter or buffer name -> its vocabulary dimension, for every tensor with a row per token.

    Raises:
        BackboneError: transformers cannot resize this model, or does not resize its LM head with it.
    """
    meta = _meta_copy(model)
    before = {name: tensor.shape for name, tensor in _tensors(meta).items()}
    try:
        _resize(meta, vocabulary_size(meta) + 1)
    except (TypeError, ValueError, NotImplementedError, AttributeError, RuntimeError) as error:
        raise BackboneError(
            f"{type(model).__name__}: its embeddings cannot be resized: {one_line(error)}; no tokens can be added"
        ) from None
    after = {name: tensor.shape for name, tensor in _tensors(meta).items()}
    axes = {
        name: _changed_axis(shape, after[name]) for name, shape in before.items() if after.get(name, shape) != shape
    }
    _check_head(meta, axes)
    return axes


def share_again(copied: Iterable[nn.Module], model: nn.Module, before: Mapping[int, str]) -> None:
    """Replace the parameters that copies share with a model by the model's current ones.

    Args:
        copied: Modules that share parameters with the model.
        model: The model after ``add_rows``.
        before: Output of ``names_by_identity`` before ``add_rows``.
    """
    current = _tensors(model)
    for module in (part for whole in copied for part in whole.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            shared = before.get(id(parameter))
            if shared is not None and current[shared] is not parameter:
                setattr(module, name, current[shared])
        if isinstance(module, nn.Embedding):
            module.num_embeddings = module.weight.shape[0]


def names_by_identity(model: nn.Module) -> dict[int, str]:
    """Return ``id`` of a parameter -> its name; valid only while the model keeps the parameter."""
    return {id(parameter): name for name, parameter in model.named_parameters()}


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, tied ones under each of their names."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(model.named_buffers(remove_duplicate=False))}


def _meta_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model on the meta device."""
    memo: dict[int, Any] = {id(buffer): buffer.detach().to("meta") for buffer in model.buffers()}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    meta = copy.deepcopy(model, memo)
    for name in _INITIALIZERS:
        setattr(meta, name, lambda *_: None)
    return meta


def _resize(model: nn.Module, rows: int) -> None:
    resize: Any = model.resize_token_embeddings
    settings = {"mean_resizing": False} if "mean_resizing" in inspect.signature(resize).parameters else {}
    device = next(model.parameters()).device
    # Its random initial values are overwritten, and the global random state must not depend on them.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        resize(rows, **settings)
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None:
        head.train(model.training)


def _changed_axis(before: torch.Size, after: torch.Size) -> int:
    return next(axis for axis, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)


def _check_head(model: nn.Module, axes: Mapping[str, int]) -> None:
    head = model.get_output_embeddings()  # type: ignore[operator]
    grown = {id(tensor) for name, tensor in _tensors(model).items() if name in axes}
    if head is not None and any(id(parameter) not in grown for parameter in head.parameters()):
        raise BackboneError(
            f"{type(model).__name__}: transformers does not resize its language-model head with its embeddings, so no "
            "tokens can be added"
        )


def _fill(new: Tensor, old: Tensor, axis: int, tokens: Mapping[int, Sequence[int]]) -> None:
    """Write the new rows; ``old`` may be the same tensor, as only old rows are read."""
    added = [token for token in range(old.shape[axis], new.shape[axis]) if token not in tokens]
    if added:
        new.index_copy_(axis, _ids(added, new), _mean(old, axis).expand(*_shape_with(new, axis, len(added))))
    for token, pieces in tokens.items():
        new.index_copy_(axis, _ids([token], new), _mean(old.index_select(axis, _ids(pieces, old)), axis))


def _mean(rows: Tensor, axis: int) -> Tensor:
    return rows.float().mean(axis, keepdim=True).to(rows.dtype)


def _ids(tokens: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(tokens, device=like.device)


def _shape_with(tensor: Tensor, axis: int, size: int) -> list[int]:
    return [size if dim == axis else length for dim, length in enumerate(tensor.shape)]
