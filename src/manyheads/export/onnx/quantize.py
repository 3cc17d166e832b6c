"""Quantize the graphs of an export that is written in fp32 already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir

from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.export.onnx.graphs import WEIGHTS
from manyheads.export.onnx.quantizers.products import backbone_products
from manyheads.export.onnx.quantizers.quantizer import Batch, Quantizer
from manyheads.export.onnx.refit import Refit, refit
from manyheads.export.onnx.save import save
from manyheads.onnx.layout import GRAPH
from manyheads.onnx.layout_file import read_layout, write_layout


@dataclass(frozen=True)
class Quantized:
    """Quantized graphs.

    Attributes:
        models: File name -> graph.
        refitted: Head name -> how it was fitted to the quantized graph; empty without a refit.
    """

    models: Mapping[str, onnx_ir.Model]
    refitted: Mapping[str, Refit]


def quantize(
    core: HeadedCore,
    models: Mapping[str, onnx_ir.Model],
    heads: Sequence[str],
    quantizer: Quantizer,
    samples: Iterable[Batch],
    refit_to: Iterable[Batch] | None = None,
) -> Quantized:
    """Quantize graphs, and fit the heads without hidden layers to them if wanted.

    Args:
        core: Backbone and heads.
        models: File name -> graph in fp32; they do not change.
        heads: Names of the heads in the graphs, in the order of ``HeadsGraph.outputs``.
        quantizer: The scheme.
        samples: Inputs of any texts, for the sizes of activations; see ``onnx.graph_inputs``.
        refit_to: Inputs of the texts that heads are fitted to, best those they were trained on; ``None`` for no refit.

    Raises:
        ExportError: there is no product to quantize.
    """
    if not all(backbone_products(model) for model in models.values()):
        raise ExportError(f"{core.backbone.name}: its graph has no matrix product to quantize; export it in fp32")
    samples = list(samples)
    quantized = {name: quantizer.quantize(model, samples) for name, model in models.items()}
    if refit_to is None:
        return Quantized(quantized, {})
    linear = {name: place for place, name in enumerate(heads) if not core.heads[name].spec.hidden}
    return Quantized(quantized, refit(quantized[GRAPH], models[GRAPH], linear, refit_to))


def rewrite(models: Mapping[str, onnx_ir.Model], folder: Path) -> None:
    """Replace the graphs of an export."""
    layout = read_layout(folder)
    save(models, folder, WEIGHTS)
    write_layout(layout, folder)
