"""All heads of a model in one folder, as a graph that ``OnnxPredictor`` runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from manyheads.core import HeadedCore
from manyheads.errors import ExportError, MissingExtraError, listed
from manyheads.export.exporter import Exported, Exporter, Written
from manyheads.export.folder import check_folder, write_export
from manyheads.export.onnx.bags import write_bags
from manyheads.export.onnx.card import onnx_card
from manyheads.export.onnx.graph import HeadsGraph
from manyheads.export.onnx.parity import Parity, compare
from manyheads.export.onnx.settings import OnnxSettings
from manyheads.export.onnx.surroundings import layout_of
from manyheads.export.onnx.tokenizer import write_tokenizer
from manyheads.export.onnx.trace import save, trace
from manyheads.onnx.layout_file import write_layout
from manyheads.onnx.predictor import OnnxPredictor
from manyheads.runtime.progress import spinner

_FP32_BYTES = 4


@dataclass(frozen=True)
class OnnxExporter(Exporter):
    """Exports heads to ONNX.

    Attributes:
        settings: What the graph contains, and how exact it has to be.
    """

    name: ClassVar[str] = "onnx"
    purpose: ClassVar[str] = "a graph with all heads, for OnnxPredictor and ONNX Runtime"
    has_one_folder: ClassVar[bool] = True

    settings: OnnxSettings = field(default_factory=OnnxSettings)

    def export(self, core: HeadedCore, tokenizer: Any, heads: Mapping[str, Path], overwrite: bool = False) -> Exported:
        """Export heads to the one folder that they are given; see ``Exporter.export``."""
        (folder,) = set(heads.values())
        check_folder(folder, overwrite, _inputs(core))
        errors = {name: error for name in heads if (error := _problem(core, name))}
        names = [name for name in heads if name not in errors]
        written: dict[str, Written] = {}
        if names:
            with spinner(f"Exporting {listed(names)}"):
                written = self._write(core, tokenizer, names, folder, overwrite)
        return Exported(self.name, dict.fromkeys(written, folder), errors, written)
