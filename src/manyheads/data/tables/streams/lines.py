"""The lines of a text file, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from manyheads.data.tables.plain_text import check_plain, nul_byte

_BLOCK_BYTES = 1 << 20
_MARK = b"\xef\xbb\xbf"


def text_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Yield lines with their ends (``\\n``, ``\\r\\n`` or ``\\r``); a byte that is not UTF-8 is a lone surrogate.

    Args:
        file: At its start; a byte-order mark of UTF-8 is left out.
        name: The table's name, for messages.

    Raises:
        DataError: another encoding, or a NUL byte.
    """
    held = b""
    for block in _blocks(file, name):
        # The last line may go on in the next block, if only with the "\n" after its "\r".
        *whole, held = (held + block).splitlines(keepends=True) or [b""]
        for line in whole:
            yield line.decode("utf-8", "surrogateescape")
    if held:
        yield held.decode("utf-8", "surrogateescape")


def byte_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield lines that end in ``\\n``, as JSON Lines has them.

    Raises:
        DataError: another encoding than UTF-8.
    """
    for number, line in enumerate(file):
        if not number:
            check_plain(line, name)
            line = line.removeprefix(_MARK)
        yield line


def _blocks(file: BinaryIO, name: str) -> Iterator[bytes]:
    first = file.read(_BLOCK_BYTES)
    check_plain(first, name)
    yield first.removeprefix(_MARK)
    count = first.count(b"\n")
    while block := file.read(_BLOCK_BYTES):
        if b"\0" in block:
            raise nul_byte(name, count + block.count(b"\n", 0, block.find(b"\0")) + 1)
        yield block
        count += block.count(b"\n")


def repaired(text: str) -> str:
    """Return a text with a replacement character for each sequence of bytes that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
