"""``manyheads export``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from manyheads.checkpoint.open_model import open_model
from manyheads.cli.export_options import ExportInput, ExportOutput, OnnxOptions
from manyheads.cli.option_groups import given
from manyheads.errors import ConfigError, ExportError, HeadError
from manyheads.export.exporter import Exported, Exporter
from manyheads.export.exporters import exporter_named
from manyheads.export.onnx.exporter import OnnxExporter
from manyheads.export.onnx.settings import OnnxSettings
from manyheads.runtime.collecting import uncollected_imports

_SOME_ERRORS = 1


def run_export(source: ExportInput, onnx: OnnxOptions, output: ExportOutput) -> None:
    """Export the heads and report each; exit with 1 if the format cannot express one."""
    exporter = _exporter(output.to, onnx)
    with uncollected_imports():  # the model's own modules are imported too
        core, tokenizer = open_model(source.model, trust_remote_code=source.trust_remote_code)
    heads = list(core.heads.chosen(source.head or None))
    exported = exporter.export(core, tokenizer, _folders(exporter, heads, source.head, output.out), output.overwrite)
    if len(source.head or ()) == 1 and exported.errors:
        raise ExportError(next(iter(exported.errors.values())))
    _report(exported, output.as_json)
    if exported.errors:
        sys.exit(_SOME_ERRORS)


def _exporter(to: str, onnx: OnnxOptions) -> Exporter:
    """Return the exporter with the settings of the command line.

    Raises:
        ConfigError: there is none of that name, or it has no such settings.
    """
    exporter, settings = exporter_named(to), given(onnx)
    if not settings:
        return exporter
    if not isinstance(exporter, OnnxExporter):
        raise ConfigError(f"--{next(iter(settings)).replace('_', '-')}: is an option of --to onnx, not of --to {to}")
    return OnnxExporter(OnnxSettings(**settings))


def _folders(exporter: Exporter, heads: Sequence[str], named: Sequence[str] | None, out: Path) -> Mapping[str, Path]:
    """Return the folder of each head: ``out`` if it is the only one named or there is one for all, else a folder in it.

    Raises:
        HeadError: the model has no heads.
    """
    if not heads:
        raise HeadError("There is no head to export: this model has none; train one with manyheads train")
    one = exporter.has_one_folder or len(named or ()) == 1
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
        if "quantized" in written.details:
            found = written.details["quantized"]
            yield f"  quantized: {found['agreement']:.4f} of {found['items']:,} answers are those of fp32"
        yield from (f"  {note}" for note in written.notes)
    yield from (f"Not exported: {reason}" for reason in exported.errors.values())


def _as_json(exported: Exported) -> dict[str, Any]:
    written = {
        name: {
            "folder": str(exported.folders[name]),
            "difference": one.difference,
            "notes": list(one.notes),
            **one.details,
        }
        for name, one in exported.written.items()
    }
    return {"to": exported.to, "exported": written, "errors": dict(exported.errors)}
