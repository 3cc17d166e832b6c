"""JSON lines: bytes to rows, each value with the type it was written in."""

from __future__ import annotations

import io
import json

from manyheads.data.tables.plain_text import check_plain, not_utf8
from manyheads.errors import DataError


def parse_json_lines(data: bytes, name: str) -> list[dict[str, object]]:
    """Return one dict per non-empty line.

    Args:
        data: The file, UTF-8 with or without a byte-order mark.
        name: The table's name, for messages.

    Raises:
        DataError: another encoding, or a line that holds no JSON object; the message has its number.
    """
    check_plain(data, name)
    # Only "\n" ends a line: str.splitlines would also cut inside strings, at U+2028 for one.
    lines = enumerate(io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")), start=1)
    return [_parse_line(line, f"{name}, line {number}", data, name) for number, line in lines if line.strip()]


def _parse_line(line: bytes, place: str, data: bytes, name: str) -> dict[str, object]:
    try:
        return parse_line(line)
    except ValueError as error:
        encoding = not_utf8(data, name) if not_utf8(line, name) else None
        raise encoding or DataError(f"{place}: {error}") from None


def parse_line(line: bytes) -> dict[str, object]:
    """Return the object of a line.

    Raises:
        ValueError: it is not UTF-8, not JSON, or no object.
    """
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=unique_keys)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8, it contains the byte 0x{line[error.start]:02x}; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        shown = line.strip()[:40].decode("utf-8", "replace")
        raise ValueError(f"is not JSON ({error}): {shown!r}; each line must be one object") from None
    if not isinstance(value, dict):
        raise ValueError(f'must be an object such as {{"text": "..."}}, got {line.strip()[:40].decode()!r}')
    return value


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's entries.

    Raises:
        ValueError: a key occurs twice.
    """
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return keys
