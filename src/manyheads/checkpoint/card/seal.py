"""The last line of a model card: the hash of its text, by which a person's edits are recognized."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

CARD = "README.md"

_SEAL = (
    "<!-- Written by manyheads, and written anew on every save until it is edited. SHA-256 of the text above: {} -->"
)
_SEALED = re.compile(re.escape(_SEAL).replace(re.escape("{}"), "([0-9a-f]{64})") + r"\s*\Z")


def sealed(text: str) -> str:
    """Return a text that ends in a line with its hash."""
    return f"{text.rstrip()}\n\n{_SEAL.format(_digest(text))}\n"


def is_edited(folder: Path) -> bool:
    """Return whether a folder has a model card that a person wrote or edited.

    The hash does not depend on the form of line ends, nor on spaces at the end of the text.
    """
    path = folder / CARD
    if not os.path.lexists(path):
        return False
    try:
        text = path.read_text("utf-8-sig")  # line ends of Windows are read as "\n"
    except (OSError, ValueError):
        return True
    found = _SEALED.search(text)
    return found is None or found[1] != _digest(text[: found.start()])


def _digest(text: str) -> str:
    return hashlib.sha256(text.rstrip().encode("utf-8", "surrogatepass")).hexdigest()
