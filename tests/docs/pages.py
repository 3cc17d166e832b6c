"""The documentation's pages, and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(
    r"(?P<skip><!-- not run[^>]*-->\s*)?^```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<code>.*?)^```", re.M | re.S
)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        language: Its info string's first word.
        code: Its text.
        line: The line in its page on which the code begins, from 1.
        title: The file name that it shows, or "".
        runs: Whether no comment ``<!-- not run: why -->`` stands before it.
    """

    language: str
    code: str
    line: int
    title: str
    runs: bool


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(
            match["language"],
            match["code"],
            text.count("\n", 0, match.start("code")) + 1,
            "".join(_TITLE.findall(match["info"])),
            not match["skip"],
        )
        for match in _FENCE.finditer(text)
    ]


def without_code(page: Path) -> str:
    """Return a page's text without code blocks and code spans."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)
