"""Quantize an export, and let no head pass that would answer otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manyheads.core import HeadedCore
from manyheads.data.labelled import Reading
from manyheads.data.tables.table import Table, read_table
from manyheads.data.texts.texts import read_texts
from manyheads.errors import ExportError
from manyheads.export.onnx.gate import agreements
from manyheads.export.onnx.graphs import Graphs
from manyheads.export.onnx.quantize import quantize, rewrite
from manyheads.export.onnx.quantizers.quantizer import Batch
from manyheads.export.onnx.quantizers.quantizers import quantizer_named
from manyheads.export.onnx.settings import OnnxSettings
from manyheads.inference.text_columns import text_columns
from manyheads.onnx.graph_inputs import graph_inputs
from manyheads.onnx.predictor import OnnxPredictor

# Texts on which the sizes of activations are measured.
_SAMPLES = 200


class RefusedHeadsError(ExportError):
    """Heads whose quantized answers differ too much.

    Attributes:
        reasons: Head name -> the figures, and what can be done.
    """

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


def quantize_export(
    core: HeadedCore, tokenizer: Any, names: Sequence[str], settings: OnnxSettings, graphs: Graphs, folder: Path
) -> dict[str, dict[str, Any]]:
    """Replace the graphs of an export by quantized ones.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        names: Names of the heads.
        settings: The quantizer, the rows to compare, and the texts to refit heads to.
        graphs: The graphs in fp32.
        folder: The export in fp32; it changes.

    Returns:
        Head name -> what ``export.json`` records of it.

    Raises:
        RefusedHeadsError: heads agree less than they have to.
        ExportError: the graph has nothing to quantize.
        DataError: a table that cannot be used.
    """
    assert settings.quantize is not None
    data, further = read_table(settings.data), None if settings.refit is None else read_table(settings.refit)
    given = [settings.text] if isinstance(settings.text, str) else settings.text
    text = text_columns(given, core.heads.chosen(names).values(), data.name)

    def inputs(table: Table, most: int | None = None) -> list[Batch]:
        part = table if most is None else table.select(range(min(most, len(table))))
        return list(graph_inputs(folder, read_texts(part, text), names))

    outputs, quantizer = list(graphs.heads.outputs), quantizer_named(settings.quantize)
    refit_to = None if further is None else inputs(further)
    found = quantize(core, graphs.models, outputs, quantizer, inputs(data, _SAMPLES), refit_to)
    rewrite(found.models, folder)
    compared = agreements(core, tokenizer, OnnxPredictor(folder), data, Reading(text))
    problems = {
        name: one.problem(name, settings.min_agreement, name in found.refitted) for name, one in compared.items()
    }
    refused = {name: problem for name, problem in problems.items() if problem is not None}
    if refused:
        raise RefusedHeadsError(refused)
    refits = {name: {"refit": one.record()} for name, one in found.refitted.items()}
    return {name: {"quantized": compared[name].record(), **refits.get(name, {})} for name in names}
