"""The folder of exported heads: written atomically, with ``export.json``, which lists its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from manyheads._version import VERSION
from manyheads.checkpoint.card.seal import CARD, is_edited, sealed
from manyheads.checkpoint.target import check_space, check_target
from manyheads.core import HeadedCore
from manyheads.errors import ManyheadsError, OutputError, one_line
from manyheads.export.exporter import Written
from manyheads.runtime.folders import atomic_folder, held

EXPORT_JSON = "export.json"
PROTOCOL = 1


def exported_files(folder: Path) -> frozenset[str]:
    """Return the names of the files that an export wrote to a folder; none if no export did.

    A model card that a person edited is theirs and not among them.
    """
    try:
        record = json.loads((folder / EXPORT_JSON).read_text("utf-8"))
        files = record["files"] if record["protocol"] == PROTOCOL else []
        names = frozenset(name for name in files if isinstance(name, str) and _is_inside(name))
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return frozenset()
    return names - {CARD} if is_edited(folder) else names


def kept_folders(core: HeadedCore) -> list[Path]:
    """Return the folders that no export may replace: that of the backbone."""
    source = core.backbone.source
    return [] if source is None else [source.folder]


def check_folder(folder: Path, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check that a head can be exported to a folder.

    Args:
        folder: The folder.
        overwrite: Whether an earlier export may be replaced.
        inputs: Folders that must stay, such as the backbone's.

    Raises:
        OutputExistsError: the folder is not free.
    """
    check_target(folder, overwrite, inputs, exported_files, "an export")


def write_export(
    folder: Path,
    overwrite: bool,
    inputs: Sequence[Path],
    size: int,
    record: dict[str, Any],
    write: Callable[[Path], Written],
) -> Written:
    """Write an export so that the folder is complete or unchanged, whenever the process is killed.

    Args:
        folder: Where to; new or empty, or an earlier export with ``overwrite``.
        overwrite: Whether an earlier export may be replaced.
        inputs: Folders that must stay, such as the backbone's.
        size: The expected size of the files in bytes.
        record: What ``export.json`` says of the heads, as plain JSON.
        write: Writes the files to an empty folder.

    Raises:
        OutputExistsError: the folder is not free.
        OutputError: the files cannot be written.
        ExportError: from ``write``.
    """
    folder = folder.resolve()

    def check() -> None:
        check_folder(folder, overwrite, inputs)

    try:
        with held(folder):
            check()
            keeps_card = is_edited(folder)
        check_space(folder, size)
        with atomic_folder(folder, check, exported_files) as fresh:
            written = write(fresh)
            if not keeps_card:
                (fresh / CARD).write_text(sealed(written.card), encoding="utf-8")
            _write_record(fresh, record, written)
    except (OSError, SafetensorError) as error:
        if isinstance(error, ManyheadsError):
            raise
        raise OutputError(
            f"{folder}: cannot be written: {one_line(error)}; free some space, or choose another path"
        ) from error
    return written


def _write_record(folder: Path, record: dict[str, Any], written: Written) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    content = {
        "protocol": PROTOCOL,
        "manyheads": VERSION,
        **record,
        **written.details,
        "largest_difference": written.difference,
        "largest_difference_of_precision": written.drift,
        "files": [*names, EXPORT_JSON],
    }
    (folder / EXPORT_JSON).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.parts)
