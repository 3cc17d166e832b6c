"""Any text as inert Markdown: on one line, in backticks."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Longer texts are cut.
MOST_CHARACTERS = 100
# A table needs it, also inside inline code.
_PIPE = "\\|"


def code(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text as inline code, in which neither HTML nor Markdown takes effect."""
    shown = _cut(_on_one_line(text), most) or '""'
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{space}{shown}{space}{fence}"


def labels_as_code(labels: Sequence[object]) -> list[str]:
    """Return labels as inline code; as JSON if not all are texts, so that ``1`` and ``"1"`` differ."""
    texts = all(isinstance(label, str) for label in labels)
    return [code(str(label) if texts else json.dumps(label, ensure_ascii=False)) for label in labels]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', _PIPE) for cell in cells)} |" for cells in lines)


def _on_one_line(text: str) -> str:
    """Return a text without line ends, control characters, and marks that change the direction of writing."""
    return " ".join("".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text).split())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
