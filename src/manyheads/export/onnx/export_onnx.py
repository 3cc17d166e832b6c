"""Export the heads of a model as one graph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manyheads.core import HeadedCore
from manyheads.errors import ExportError, HeadError
from manyheads.export.onnx.exporter import OnnxExporter
from manyheads.export.onnx.settings import OnnxSettings


def export_onnx(
    core: HeadedCore,
    tokenizer: Any,
    folder: Path,
    heads: Iterable[str] | None,
    settings: OnnxSettings,
    overwrite: bool = False,
) -> None:
    """Export heads as one graph; arguments and errors are those of ``HeadedModel.export_onnx``."""
    chosen = core.heads.chosen(heads)
    if not chosen:
        raise HeadError("There is no head to export: this model has none; add one with add_head, and train it")
    exported = OnnxExporter(settings).export(core, tokenizer, dict.fromkeys(chosen, folder), overwrite)
    for error in exported.errors.values():
        raise ExportError(error)
