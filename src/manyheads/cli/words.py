"""``manyheads words``, and the file of words that ``manyheads train --add-words`` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from manyheads.cli.tables import read_input
from manyheads.data.vocabulary.propose import WordProposals
from manyheads.errors import DataError, OutputExistsError
from manyheads.model import propose_words


@dataclass(frozen=True)
class WordsRequest:
    """What the command line says; see ``manyheads words --help``."""

    data: str
    backbone: str
    text: tuple[str, ...]
    top: int
    min_count: int
    out: Path | None
    file_format: str
    overwrite: bool
    trust_remote_code: bool


def run_words(request: WordsRequest, as_json: bool) -> None:
    """Read, count, report, and write the words if asked to."""
    out = request.out
    if out is not None and not out.absolute().parent.is_dir():
        raise DataError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out is not None and out.exists() and not request.overwrite:
        raise OutputExistsError(f"{out}: exists already; choose another path, or pass --overwrite")
    found = propose_words(
        request.backbone,
        read_input(request.data, request.file_format),
        request.text[0] if len(request.text) == 1 else request.text,
        request.top,
        request.min_count,
        request.trust_remote_code,
    )
    if out is not None:
        out.write_text("".join(f"{word}\n" for word in found.words), encoding="utf-8")
    if as_json:
        print(json.dumps(_as_json(found), ensure_ascii=False, indent=1))
    else:
        _show(found, out)


def read_words(path: str | Path) -> list[str]:
    """Return the words of a file, one a line; blank lines are left out.

    Raises:
        DataError: a file that cannot be read, or holds no word.
    """
    try:
        text = Path(path).expanduser().read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Give a file with one word a line.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text. Save it as UTF-8, one word a line.") from None
    words = [line.strip() for line in text.splitlines() if line.strip()]
    if not words:
        raise DataError(f"{path} holds no word. Write one word a line, or leave --add-words out.")
    return words


def _as_json(found: WordProposals) -> dict[str, Any]:
    return {
        "texts": found.texts,
        "tokens_before": found.tokens_before,
        "tokens_after": found.tokens_after,
        "per_text_before": found.per_text_before,
        "per_text_after": found.per_text_after,
        "words": [
            {"word": one.word, "count": one.count, "pieces": list(one.pieces), "saves": one.saves} for one in found
        ],
    }


def _show(found: WordProposals, out: Path | None) -> None:
    console = Console(highlight=False)
    if not len(found):
        console.print("No word that stands there often enough would save a token.")
        return
    table = RichTable(box=box.SIMPLE)
    for title in ("word", "count", "pieces", "saves"):
        table.add_column(title, justify="right" if title in {"count", "saves"} else "left", overflow="fold")
    for one in found:
        table.add_row(escape(one.word), f"{one.count:,}", escape(" ".join(one.pieces)), f"{one.saves:,}")
    console.print(table)
    share = 1 - found.tokens_after / found.tokens_before
    console.print(
        f"{len(found)} words, {found.texts:,} texts: {found.per_text_before:.2f} tokens per text before, "
        f"{found.per_text_after:.2f} after ({share:.1%} fewer).",
        soft_wrap=True,
    )
    if out is not None:
        console.print(
            f"Written to {out}; manyheads train --add-words {out} teaches them.", markup=False, soft_wrap=True
        )
