"""JSON files: an array of objects, or one object per line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence

from manyheads.data.tables.json_lines import parse_json_lines, unique_keys
from manyheads.data.tables.plain_text import check_plain
from manyheads.errors import DataError, InputWarning

# Prodigy's answers; only the first is an annotation.
ACCEPTED, _ANSWERS = "accept", {"accept", "reject", "ignore"}


def parse_json(data: bytes, name: str) -> list[dict[str, object]]:
    """Return the rows of a JSON file.

    Args:
        data: The file, UTF-8: an array of objects, spaCy's array of pairs of a text and an object, or JSON lines.
        name: The table's name, for messages.

    Raises:
        DataError: other JSON; the message says what it is.
    """
    check_plain(data, name)
    content = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not content.startswith(b"["):
        lines = [line for line in content.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.lstrip().startswith(b"{") for line in lines):
            return accepted_rows(parse_json_lines(data, name), name)
        raise DataError(
            f"{name}: must be an array of objects, [{{...}}, ...], or one object per line; convert it, in pandas with "
            "frame.to_json(path, orient='records')"
        )
    try:
        rows = json.loads(content.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: is not JSON ({error}); correct it, or write it again") from None
    return accepted_rows([_row(row, f"{name}, row {number}") for number, row in enumerate(rows, start=1)], name)


def accepted_rows(rows: Sequence[dict[str, object]], name: str) -> list[dict[str, object]]:
    """Return the rows without those that an annotator of Prodigy rejected or ignored.

    Raises:
        DataError: Label Studio's full export, whose annotations are nested.
    """
    if rows and all(map(is_full_export, rows)):
        raise full_export(name)
    if not rows or not all(map(is_annotated, rows)):
        return list(rows)
    kept = [row for row in rows if row["answer"] == ACCEPTED]
    warn_left_out(name, len(rows) - len(kept))
    return kept


def is_annotated(row: Mapping[str, object]) -> bool:
    """Return whether a row has the answer of an annotator of Prodigy."""
    answer = row.get("answer")
    return isinstance(answer, str) and answer in _ANSWERS


def is_full_export(row: Mapping[str, object]) -> bool:
    """Return whether a row is one of Label Studio's full export."""
    return {"data", "annotations"} <= row.keys()


def full_export(name: str) -> DataError:
    """Return the error for Label Studio's full export."""
    return DataError(f"{name}: is the full JSON export of Label Studio; export it as JSON-MIN or CSV instead")


def warn_left_out(name: str, rows: int) -> None:
    """Warn that so many rows were rejected or ignored, if any were."""
    if rows:
        warnings.warn(f"{name}: {rows} rows were rejected or ignored, and are left out", InputWarning, stacklevel=3)


def _row(row: object, place: str) -> dict[str, object]:
    if isinstance(row, dict):
        return row
    if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], Mapping):
        return {"text": row[0], **row[1]}
    raise DataError(f"{place}: must be an object such as {{'text': ...}}, got {repr(row)[:40]}")
