"""Export heads of a model: one, or all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manyheads.core import HeadedCore
from manyheads.errors import ExportError, HeadError
from manyheads.export.exporter import Exported
from manyheads.export.exporters import exporter_named


def export_head(
    core: HeadedCore, tokenizer: Any, name: str, folder: Path, to: str = "transformers", overwrite: bool = False
) -> None:
    """Export one head; arguments and errors are those of ``HeadedModel.export_head``."""
    core.heads.chosen([name])
    exported = exporter_named(to).export(core, tokenizer, {name: folder}, overwrite)
    if exported.refused:
        raise ExportError(exported.refused[name])


def export_heads(
    core: HeadedCore,
    tokenizer: Any,
    folder: Path,
    to: str = "transformers",
    overwrite: bool = False,
    heads: Iterable[str] | None = None,
) -> Exported:
    """Export heads, each to a folder of its own name in ``folder``; those that the format cannot express are listed.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        folder: Where to.
        to: The format.
        overwrite: Whether earlier exports may be replaced.
        heads: Names of heads; all by default.

    Raises:
        HeadError: the model has no heads.
        ConfigError: an unknown format.
        OutputExistsError: a folder is not free.
        OutputError: files cannot be written.
    """
    chosen = core.heads.chosen(heads)
    if not chosen:
        raise HeadError("There is no head to export: this model has none; add one with add_head, and train it")
    return exporter_named(to).export(core, tokenizer, {name: folder / name for name in chosen}, overwrite)
