"""Fit heads anew on the features of a quantized graph, so that their logits are those in fp32 again.

Symbols and shapes, for n texts (or words) of any table; labels are not needed::

    x_i    (width,)     the features that the quantized graph computes
    f_i    (width,)     the same in fp32
    W      (width, outputs)   the weight of the head's layer
    e_i    (outputs,)   (f_i - x_i) W, the error of the layer's outputs
    D      (width, outputs), d (outputs,)   the changes of its weight and bias

``D`` and ``d`` have the least ``sum_i |e_i - z_i D' - d|^2 / n + l |D'|^2``, where ``z`` are the features with mean 0
and standard deviation 1. ``l`` is the strength that predicts held-out texts best, if any does better than no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from onnx_ir import Value

from manyheads.export.onnx.quantizers.editing import Editor
from manyheads.export.onnx.quantizers.outputs import run_to
from manyheads.export.onnx.quantizers.products import Product, products, scopes
from manyheads.export.onnx.quantizers.quantizer import Batch

_FOLDS = 5
# Strengths, from strong to weak.
_STRENGTHS = (10.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
_TINY = 1e-9


@dataclass(frozen=True)
class Refit:
    """How a head was fitted to a quantized graph.

    Attributes:
        items: Number of texts, or words, that it was fitted to.
        strength: The strength of the penalty; ``None`` if nothing changed.
        before: Root mean square of ``e`` on held-out items, without any change.
        after: That with the change.
    """

    items: int
    strength: float | None
    before: float
    after: float

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"items": self.items, "strength": self.strength, "error_before": self.before, "error_after": self.after}


def refit(
    model: onnx_ir.Model, exact: onnx_ir.Model, heads: Mapping[str, int], batches: Iterable[Batch]
) -> dict[str, Refit]:
    """Change the first layer of heads so that a quantized graph gives the logits of the one in fp32.

    Args:
        model: The quantized graph; it changes.
        exact: The graph in fp32.
        heads: Head of one linear layer -> its number among the heads of ``HeadsGraph``.
        batches: Inputs of texts, as many as the heads were trained on or fewer.

    Returns:
        Head name -> how it was fitted; heads that read nothing from the backbone are left out.
    """
    layers = {name: layer for name, number in heads.items() if (layer := head_layer(exact, number)) is not None}
    if not layers:
        return {}
    batches = list(batches)
    quantized = {name: _same_layer(model, layer) for name, layer in layers.items()}
    wanted = _items([layer.x for layer in layers.values()], exact, batches)
    given = _items([layer.x for layer in quantized.values()], model, batches)
    editor, found = Editor(model, "refit"), {}
    for name, layer, x, own in zip(layers, quantized.values(), wanted, given, strict=True):
        errors = (x.astype(np.float64) - own) @ layer.weight
        change, found[name] = _fit(own.astype(np.float64), errors)
        _install(editor, layer, change)
    return found


def head_layer(model: onnx_ir.Model, number: int) -> Product | None:
    """Return the first layer of a head, without its bags of terms; ``None`` if it has only these.

    Args:
        model: A graph.
        number: The head's number among the heads of ``HeadsGraph``.
    """
    module = f"heads.{number}"
    return next((one for one in products(model) if scopes(one.node)[-2:-1] == [module]), None)


def _same_layer(model: onnx_ir.Model, layer: Product) -> Product:
    """Return a layer of the graph in fp32 in the quantized one."""
    # ONNX Runtime's tool writes every Gemm as MatMul and Add, and drops the scopes.
    names = (layer.node.name, f"{layer.node.name}_MatMul")
    (found,) = (one for one in products(model) if one.node.name in names)
    return found


def _items(values: Sequence[Value], model: onnx_ir.Model, batches: Sequence[Batch]) -> list[np.ndarray]:
    """Return values of all texts, (items, ...) each; words of padding are left out."""
    names = [str(value.name) for value in values]
    found: list[list[np.ndarray]] = [[] for _ in names]
    for batch, outputs in zip(batches, run_to(model, names, batches), strict=True):
        for parts, array in zip(found, outputs, strict=True):
            parts.append(array if array.ndim == 2 else array[_words(batch)])
    return [np.concatenate(parts) for parts in found]


def _words(batch: Batch) -> np.ndarray:
    """Return which words of a batch there are, booleans (rows, words)."""
    counts = batch["word_ids"].max(axis=1) + 1
    there: np.ndarray = batch["word_numbers"] < counts[:, None]
    return there


@dataclass(frozen=True)
class _Change:
    """``D`` fp64 (width, outputs) and ``d`` (outputs,)."""

    weight: np.ndarray
    bias: np.ndarray

    def errors(self, x: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Return what is left of ``e`` (items, outputs)."""
        left: np.ndarray = errors - x @ self.weight - self.bias
        return left


def _fit(x: np.ndarray, errors: np.ndarray) -> tuple[_Change, Refit]:
    folds = np.arange(len(x)) % _FOLDS
    losses = np.zeros(len(_STRENGTHS) + 1)
    for fold in range(_FOLDS):
        kept, held_out = folds != fold, folds == fold
        for place, change in enumerate(_path(x[kept], errors[kept])):
            losses[place] += (change.errors(x[held_out], errors[held_out]) ** 2).sum()
    best = int(losses.argmin())
    strength = _STRENGTHS[best - 1] if best else None
    before, after = (float(np.sqrt(total / errors.size)) for total in ((errors**2).sum(), losses[best]))
    return _path(x, errors)[best], Refit(len(x), strength, before, after)


def _path(x: np.ndarray, errors: np.ndarray) -> list[_Change]:
    """Return no change, then those for all strengths."""
    mean, shift = x.mean(axis=0), errors.mean(axis=0)
    deviation = x.std(axis=0) + _TINY
    z = (x - mean) / deviation
    # One decomposition serves all strengths.
    values, vectors = np.linalg.eigh(z.T @ z / len(x))
    moments = vectors.T @ (z.T @ (errors - shift) / len(x))
    changes = [_Change(np.zeros((x.shape[1], errors.shape[1])), np.zeros_like(shift))]
    for strength in _STRENGTHS:
        weight = vectors @ (moments / (values[:, None] + strength)) / deviation[:, None]
        changes.append(_Change(weight, shift - mean @ weight))
    return changes


def _install(editor: Editor, layer: Product, change: _Change) -> None:
    node, name = layer.node, layer.node.outputs[0].name
    weight = (layer.weight + change.weight).astype(np.float32)
    values = editor.add(node, "MatMul", layer.x, editor.constant(f"{name}_refitted", weight))
    shift = editor.constant(f"{name}_shift", change.bias.astype(np.float32))
    values = editor.add(node, "Add", values, shift)
    if layer.bias is not None:
        values = editor.add(node, "Add", values, layer.bias)
    editor.replace(node, values)
