"""Export one head of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.export.exporters import exporter_named


def export_head(
    core: HeadedCore, tokenizer: Any, name: str, folder: Path, to: str = "transformers", overwrite: bool = False
) -> None:
    """Export one head; arguments and errors are those of ``HeadedModel.export_head``."""
    exporter = exporter_named(to)
    core.heads.chosen([name])
    exported = exporter.export(core, tokenizer, {name: folder}, overwrite)
    if exported.errors:
        raise ExportError(exported.errors[name])
