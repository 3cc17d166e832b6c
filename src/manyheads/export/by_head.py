"""Formats with a folder for each head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.export.exporter import Exported, Exporter, Written
from manyheads.export.folder import check_folder, kept_folders, write_export
from manyheads.export.linear import ExportedHead, exported_head
from manyheads.export.probe import TOLERANCE
from manyheads.runtime.progress import spinner

# Writes the files to an empty folder, and compares them with the model.
Write = Callable[[Path], Written]

_FP32_BYTES = 4


class HeadExporter(Exporter):
    """A format with a folder for each head."""

    @abstractmethod
    def prepare(self, core: HeadedCore, tokenizer: Any, head: ExportedHead) -> Write:
        """Build one head in this format, and return the function that writes it.

        Raises:
            ExportError: the format cannot express the head.
        """

    def export(self, core: HeadedCore, tokenizer: Any, heads: Mapping[str, Path], overwrite: bool = False) -> Exported:
        """Export each head by itself; see ``Exporter.export``."""
        for folder in heads.values():
            check_folder(folder, overwrite, kept_folders(core))
        errors: dict[str, str] = {}
        written: dict[str, Written] = {}
        for name, folder in heads.items():
            try:
                with spinner(f"Exporting {name}"):
                    written[name] = self._export_one(core, tokenizer, name, folder, overwrite)
            except ExportError as error:
                errors[name] = str(error)
        return Exported(self.name, {name: heads[name] for name in written}, errors, written)

    def _export_one(self, core: HeadedCore, tokenizer: Any, name: str, folder: Path, overwrite: bool) -> Written:
        head = exported_head(core, name)
        prepared = self.prepare(core, tokenizer, head)

        def write(fresh: Path) -> Written:
            written = prepared(fresh)
            _check_equal(head, written)
            return written

        size = sum(tensor.numel() for tensor in core.backbone.stack.parameters()) * _FP32_BYTES
        record = {"to": self.name, "head": name, "kind": head.head.spec.kind, "temperature": head.temperature}
        return write_export(folder, overwrite, kept_folders(core), size, record, write)


def _check_equal(head: ExportedHead, written: Written) -> None:
    """Check that the written files give the head's logits.

    Raises:
        ExportError: they do not, so the export is not kept.
    """
    if not written.difference <= TOLERANCE * max(1.0, written.scale):
        raise ExportError(
            f"{head.owner}: the written files give logits that differ by {written.difference:.2g}; use the model "
            "itself (model.predict), and report this model"
        )
