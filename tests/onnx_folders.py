"""Exports to ONNX, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import manyheads as mh
from manyheads.export.onnx.exporter import OnnxExporter
from manyheads.export.onnx.settings import OnnxSettings


def export_onnx(
    model: mh.HeadedModel, folder: Path, heads: Iterable[str] | None = None, language_model: bool = False
) -> Path:
    """Export heads of a model, all by default, and return the folder."""
    names = list(model.heads) if heads is None else list(heads)
    exporter = OnnxExporter(OnnxSettings(language_model=language_model))
    found = exporter.export(model.core, model.tokenizer, dict.fromkeys(names, folder))
    assert not found.errors
    return folder
