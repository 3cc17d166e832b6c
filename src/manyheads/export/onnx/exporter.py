"""All heads of a model in one folder, as a graph that ``OnnxPredictor`` runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from manyheads.core import HeadedCore
from manyheads.errors import ExportError, MissingExtraError, listed
from manyheads.export.exporter import Exported, Exporter, Written
from manyheads.export.folder import check_folder, kept_folders, write_export
from manyheads.export.onnx.settings import OnnxSettings
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
        """Export heads to the one folder that they are given, all of them or none; see ``Exporter.export``.

        Raises:
            ExportError: no graph can contain the backbone, or there is no tokenizer.
        """
        (folder,) = set(heads.values())
        check_folder(folder, overwrite, kept_folders(core))
        _check_model(core, tokenizer)
        errors = {name: problem for name in heads if (problem := _problem(core, name))}
        if errors:
            return Exported(self.name, errors=errors)
        # They import onnx, which is optional.
        from manyheads.export.onnx.quantized import RefusedHeadsError
        from manyheads.export.onnx.write import together, write_heads

        found: dict[str, Written] = {}

        def write(fresh: Path) -> Written:
            with spinner(f"Exporting {listed(heads)}"):
                found.update(write_heads(core, tokenizer, list(heads), self.settings, fresh))
            return together(core, self.settings, found, fresh)

        size = sum(tensor.numel() for tensor in core.backbone.model.parameters()) * _FP32_BYTES
        try:
            write_export(folder, overwrite, kept_folders(core), size, {"to": self.name}, write)
        except RefusedHeadsError as error:
            return Exported(self.name, errors=error.reasons)
        return Exported(self.name, dict.fromkeys(found, folder), errors, found)


def _check_model(core: HeadedCore, tokenizer: Any) -> None:
    """Check that the extra is installed, and that there is a tokenizer.

    Raises:
        MissingExtraError: it is not.
        ExportError: there is none.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"Exporting to ONNX needs {listed(missing)}; pip install 'manyheads[onnx]'")
    if tokenizer is None:
        raise ExportError(f"{core.backbone.name}: has no tokenizer to export with it; wrap the model with one")


def _problem(core: HeadedCore, name: str) -> str | None:
    """Return why a head cannot be exported."""
    untrained = [other for other, head in core.heads.with_dependencies([name]).items() if not head.is_usable]
    if not untrained:
        return None
    reads = "" if untrained == [name] else f" reads {listed(untrained)}, which"
    return f"Head {name!r}:{reads} is not trained, so its export would predict at random; train it first"
