"""Trace a graph into ONNX, by transformers' exporter or, where it fails, by torch's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import onnx_ir
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._sympy.numbers import int_oo
from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

from manyheads.backbone.quiet import transformers_quiet
from manyheads.errors import ExportError, one_line
from manyheads.export.onnx.graph import HeadsGraph
from manyheads.export.onnx.inputs import dimension_names
from manyheads.export.onnx.tidy import name_dimensions, tidy

# torch traces sizes from 2 on; the code for 1 is the same unless it compares a size with 1.
_LEAST = 2
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
            with _quiet(), _programs() as programs, torch.random.fork_rng(devices=[]), torch.no_grad():
                model = attempt(graph, dict(inputs))
            tidy(model, list(graph.outputs.values()))
            names = name_dimensions(model, dimension_names(inputs))
            _check_ranges(programs[-1].exported_program.range_constraints, names, graph.most_tokens)
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
        _OfMapping(graph),
        kwargs={"inputs": inputs},
        input_names=list(inputs),
        output_names=list(graph(**inputs)),
        dynamic_shapes={"inputs": _dynamic_shapes(inputs)},
        dynamo=True,
    )
    assert program is not None
    return program.model


class _OfMapping(nn.Module):
    """A graph whose inputs are one argument: torch cannot trace a function of any number of keywords."""

    def __init__(self, graph: HeadsGraph) -> None:
        super().__init__()
        self.traced = graph
        self.eval()

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.traced(**inputs)
        return outputs


def _dynamic_shapes(inputs: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    return {name: dict.fromkeys(sizes, Dim.AUTO) for name, sizes in dimension_names(inputs).items()}


def _check_ranges(ranges: Mapping[Any, Any], names: Mapping[str, str], most_tokens: int | None) -> None:
    """Check the sizes for which a trace holds: a backbone's code may take another way for longer texts.

    Args:
        ranges: Symbol of a dimension -> the sizes that the traced code was found to hold for.
        names: Symbol -> the dimension's name.
        most_tokens: Most tokens of a text, or ``None`` for no limit.

    Raises:
        ExportError: it does not hold for all sizes.
    """
    for symbol, sizes in ranges.items():
        name = names.get(str(symbol), "")
        most = most_tokens if name.startswith("tokens") else None
        enough = sizes.upper == int_oo or (most is not None and sizes.upper >= most)
        if name and not (enough and sizes.lower <= _LEAST):
            raise ExportError(f"the trace holds only for {sizes.lower} to {sizes.upper} {name.partition('_')[0]}")


@contextmanager
def _programs() -> Iterator[list[Any]]:
    """Record what torch exports meanwhile, and keep it from printing."""
    export, programs = torch.onnx.export, []

    def recording(*args: Any, **settings: Any) -> Any:
        programs.append(export(*args, **settings, verbose=False))
        return programs[-1]

    torch.onnx.export = recording
    try:
        yield programs
    finally:
        torch.onnx.export = export


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what exporters log and warn of."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    with transformers_quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
