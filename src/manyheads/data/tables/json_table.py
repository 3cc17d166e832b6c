"""JSON files: an array of objects, or one object per line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence

from manyheads.data.tables.json_lines import parse_json_lines, unique_keys
from manyheads.data.tables.plain_text import check_plain
from manyheads.errors import DataError, InputWarning

# Prodigy's answers; only the first is an annotation.
_ACCEPTED, _ANSWERS = "accept", {"accept", "reject", "ignore"}


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
    if rows and all({"data", "annotations"} <= row.keys() for row in rows):
        raise DataError(f"{name}: is the full JSON export of Label Studio; export it as JSON-MIN or CSV instead")
    if not rows or not all(row.get("answer") in _ANSWERS for row in rows):
        return list(rows)
    kept = [row for row in rows if row["answer"] == _ACCEPTED]
    if len(kept) < len(rows):
        count = len(rows) - len(kept)
        warnings.warn(f"{name}: {count} rows were rejected or ignored, and are left out", InputWarning, stacklevel=2)
    return kept


def _row(row: object, place: str) -> dict[str, object]:
    if isinstance(row, dict):
        return row
    if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], Mapping):
        return {"text": row[0], **row[1]}
    raise DataError(f"{place}: must be an object such as {{'text': ...}}, got {repr(row)[:40]}")
