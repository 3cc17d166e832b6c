"""``manyheads export``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from manyheads.checkpoint.open_model import open_model
from manyheads.cli.export_options import ExportInput, ExportOutput
from manyheads.errors import ExportError, HeadError
from manyheads.export.exporter import Exported
from manyheads.export.exporters import exporter_named
from manyheads.runtime.collecting import uncollected_imports

_SOME_ERRORS = 1


def run_export(source: ExportInput, output: ExportOutput) -> None:
    """Export the heads and report each; exit with 1 if the format cannot express one."""
    exporter = exporter_named(output.to)
    with uncollected_imports():  # the model's own modules are imported too
        core, tokenizer = open_model(source.model, trust_remote_code=source.trust_remote_code)
    folders = _folders(list(core.heads), source.head, output.out, exporter.has_one_folder)
    core.heads.chosen(folders)
    exported = exporter.export(core, tokenizer, folders, output.overwrite)
    if source.head is not None and exported.errors:
        raise ExportError(exported.errors[source.head])
    _report(exported, output.as_json)
    if exported.errors:
        sys.exit(_SOME_ERRORS)


def _folders(heads: list[str], head: str | None, out: Path, one: bool) -> Mapping[str, Path]:
    """Return the folder of each head: ``out`` for one that was named, or if there is ``one`` for all, else a folder in
    it.

    Raises:
        HeadError: the model has no heads.
    """
    if head is not None:
        return {head: out}
    if not heads:
        raise HeadError("There is no head to export: this model has none; train one with manyheads train")
    return {name: out if one else out / name for name in heads}


def _report(exported: Exported, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_as_json(exported), ensure_ascii=False, indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(exported):
        console.print(line, markup=False)


def _lines(exported: Exported) -> Iterator[str]:
    for name, written in exported.written.items():
        yield f"{name}: {exported.folders[name]} (largest difference of a logit: {written.difference:.1g})"
        yield from (f"  {note}" for note in written.notes)
    yield from (f"Not exported: {reason}" for reason in exported.errors.values())


def _as_json(exported: Exported) -> dict[str, Any]:
    written = {
        name: {"folder": str(exported.folders[name]), "difference": one.difference, "notes": list(one.notes)}
        for name, one in exported.written.items()
    }
    return {"to": exported.to, "exported": written, "errors": dict(exported.errors)}
