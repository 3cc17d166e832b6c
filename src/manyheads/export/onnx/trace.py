"""Trace a graph into ONNX, by transformers' exporter or, where it fails, by torch's."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import onnx_ir
import torch
from torch import Tensor
from torch.export import Dim
from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

from manyheads.backbone.quiet import transformers_quiet
from manyheads.errors import ExportError, one_line
from manyheads.export.onnx.graph import HeadsGraph
from manyheads.export.onnx.inputs import dimension_names
from manyheads.export.onnx.tidy import name_dimensions, tidy

_CHATTY = ("torch.__trace", "torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")


def trace(graph: HeadsGraph) -> onnx_ir.Model:
    """Return a graph in ONNX, with any number of rows, tokens and words.

    Modules of torch are patched meanwhile: other threads must not trace.

    Raises:
        ExportError: neither exporter can trace the backbone, or only for one number of rows, tokens or words.
    """
    inputs = graph.sample_inputs()
    reasons: list[str] = []
    for attempt in (_by_transformers, _by_torch):
        try:
            with _quiet(), torch.random.fork_rng(devices=[]), torch.no_grad():
                model = attempt(graph, dict(inputs))
                tidy(model, list(graph.outputs.values()))
                name_dimensions(model, dimension_names(inputs))
            return model
        except Exception as error:  # whatever the code of a backbone or an exporter raises
            reasons.append(one_line(error))
    raise ExportError(f"{graph.owner}: cannot be traced: {reasons[0]}; use the model itself (model.predict)")


def _by_transformers(graph: HeadsGraph, inputs: dict[str, Tensor]) -> onnx_ir.Model:
    settings = OnnxConfig(dynamic_shapes=_dynamic_shapes(inputs))
    model, _ = OnnxExporter().export_program(graph, inputs, settings)
    return cast("onnx_ir.Model", model)


def _by_torch(graph: HeadsGraph, inputs: dict[str, Tensor]) -> onnx_ir.Model:
    program = torch.onnx.export(
        graph,
        kwargs=inputs,
        input_names=list(inputs),
        output_names=list(graph(**inputs)),
        dynamic_shapes={"inputs": _dynamic_shapes(inputs)},
        dynamo=True,
    )
    assert program is not None
    return program.model


def _dynamic_shapes(inputs: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    return {name: dict.fromkeys(sizes, Dim.AUTO) for name, sizes in dimension_names(inputs).items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what exporters print, log and warn of."""
    export = torch.onnx.export
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    with transformers_quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        torch.onnx.export = functools.partial(export, verbose=False)
        try:
            yield
        finally:
            torch.onnx.export = export
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
