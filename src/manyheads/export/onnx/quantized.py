"""Quantize an export, and let no head pass that would answer otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from manyheads.export.onnx.quantizers.quantizer import Batch, Quantizer
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


@dataclass(frozen=True)
class Quantization:
    """What a quantization needs, checked before anything is traced.

    Attributes:
        quantizer: The scheme.
        data: Labelled rows to compare the answers on.
        refit: Texts to fit heads to, or ``None``.
        text: The text column of both, or two for pairs.
        min_agreement: The least share of equal answers.
    """

    quantizer: Quantizer
    data: Table
    refit: Table | None
    text: str | tuple[str, ...]
    min_agreement: float

    @staticmethod
    def of(core: HeadedCore, names: Sequence[str], settings: OnnxSettings) -> Quantization | None:
        """Return it, or ``None`` for an export in fp32.

        Raises:
            ConfigError: an unknown quantizer.
            DataError: a table that cannot be used.
        """
        if settings.quantize is None:
            return None
        quantizer, data = quantizer_named(settings.quantize), read_table(settings.data)
        refit = None if settings.refit is None else read_table(settings.refit)
        given = [settings.text] if isinstance(settings.text, str) else settings.text
        text = text_columns(given, core.heads.chosen(names).values(), data.name)
        for table in (data, refit):
            if table is not None:
                read_texts(table.select([0]), text)
        return Quantization(quantizer, data, refit, text, settings.min_agreement)


def quantize_export(
    core: HeadedCore, tokenizer: Any, names: Sequence[str], graphs: Graphs, quantization: Quantization, folder: Path
) -> dict[str, dict[str, Any]]:
    """Replace the graphs of an export by quantized ones.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        names: Names of the heads.
        graphs: The graphs in fp32.
        quantization: The quantizer, the rows to compare, and the texts to refit heads to.
        folder: The export in fp32; it changes.

    Returns:
        Head name -> what ``export.json`` records of it.

    Raises:
        RefusedHeadsError: heads agree less than they have to.
        ExportError: the graph has nothing to quantize.
        DataError: a head without a label in the rows.
    """
    data, refit, text = quantization.data, quantization.refit, quantization.text

    def inputs(table: Table) -> list[Batch]:
        return list(graph_inputs(folder, read_texts(table, text), names))

    samples = inputs(data.select(range(min(_SAMPLES, data.rows))))
    refit_to = None if refit is None else inputs(refit)
    outputs = list(graphs.heads.outputs)
    found = quantize(core, graphs.models, outputs, quantization.quantizer, samples, refit_to)
    rewrite(found.models, folder)
    compared = agreements(core, tokenizer, OnnxPredictor(folder), data, Reading(text))
    least = quantization.min_agreement
    problems = {name: one.problem(name, least, name in found.refitted) for name, one in compared.items()}
    refused = {name: problem for name, problem in problems.items() if problem is not None}
    if refused:
        raise RefusedHeadsError(refused)
    refits = {name: {"refit": one.record()} for name, one in found.refitted.items()}
    return {name: {"quantized": compared[name].record(), **refits.get(name, {})} for name in names}
