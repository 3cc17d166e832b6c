"""Checks for text files of any format: UTF-8 without NUL bytes."""

from __future__ import annotations

import codecs

from manyheads.errors import DataError

_OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def check_plain(data: bytes, name: str) -> None:
    """Check quickly that bytes are text in UTF-8.

    Raises:
        DataError: a byte-order mark of UTF-16 or UTF-32, or a NUL byte.
    """
    if data.startswith(_OTHER_MARKS):
        raise DataError(f"{name} must be UTF-8, but begins as UTF-16 does; {_RESAVE}")
    nul = data.find(b"\0")
    if nul >= 0:
        raise nul_byte(name, _line(data, nul))


def nul_byte(name: str, line: int) -> DataError:
    """Return the error for a NUL byte in a line, counted from 1."""
    return DataError(
        f"{name} must be a text file, but line {line} contains a NUL byte; "
        "if it is a spreadsheet or an archive, export it as CSV (UTF-8) first"
    )


def not_utf8(data: bytes, name: str) -> DataError | None:
    """Return an error with the first byte that is not UTF-8, or ``None``."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte, line = data[error.start], _line(data, error.start)
        return DataError(f"{name} must be UTF-8, but line {line} contains the byte 0x{byte:02x}; {_RESAVE}")
    return None


def is_broken(text: str) -> bool:
    """Return whether a text contains bytes that are not UTF-8, or half a surrogate pair."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


_RESAVE = "save it as UTF-8 (in Excel: 'CSV UTF-8'), or convert it: iconv -f latin1 -t utf-8 OLD > NEW"


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
