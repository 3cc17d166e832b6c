"""``manyheads words``, and the file of words that ``manyheads train --add-words`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from manyheads.cli.tables import read_input
from manyheads.cli.words_options import WordsInput, WordsOutput
from manyheads.data.vocabulary.propose import WordProposals
from manyheads.errors import DataError, OutputExistsError
from manyheads.functions.propose_words import propose_words
from manyheads.runtime.files import atomic_write


def run_words(source: WordsInput, output: WordsOutput) -> None:
    """Read the table, propose words, write them if a file is given, and report."""
    out = None if output.out is None else Path(output.out)
    if out is not None and not out.absolute().parent.is_dir():
        raise DataError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out is not None and out.exists() and not output.overwrite:
        raise OutputExistsError(f"{out}: already exists; choose another path or pass --overwrite")
    proposals = propose_words(
        source.backbone,
        read_input(source.data, source.format),
        source.text[0] if len(source.text) == 1 else source.text,
        source.top,
        source.min_count,
        source.trust_remote_code,
    )
    if out is not None:
        atomic_write(out, "".join(f"{word}\n" for word in proposals.words))
    if output.as_json:
        print(json.dumps(_as_json(proposals), ensure_ascii=False, indent=1))
    else:
        _show(proposals, out)


def read_words(path: str | Path) -> list[str]:
    """Return the words of a file with one word per line; empty lines are skipped.

    Raises:
        DataError: the file cannot be read or contains no word.
    """
    try:
        text = Path(path).expanduser().read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a file with one word per line") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; save it as UTF-8 with one word per line") from None
    words = [line.strip() for line in text.splitlines() if line.strip()]
    if not words:
        raise DataError(f"{path}: contains no word; write one word per line or leave --add-words out")
    return words


def _as_json(proposals: WordProposals) -> dict[str, Any]:
    return {
        "texts": proposals.texts,
        "tokens_before": proposals.tokens_before,
        "tokens_after": proposals.tokens_after,
        "per_text_before": proposals.per_text_before,
        "per_text_after": proposals.per_text_after,
        "words": [
            {"word": proposal.word, "count": proposal.count, "pieces": list(proposal.pieces), "saves": proposal.saves}
            for proposal in proposals
        ],
    }


def _show(proposals: WordProposals, out: Path | None) -> None:
    console = Console(highlight=False)
    if not len(proposals):
        console.print("No frequent word would save a token.")
        return
    table = RichTable(box=box.SIMPLE)
    for title in ("word", "count", "pieces", "saves"):
        table.add_column(title, justify="right" if title in {"count", "saves"} else "left", overflow="fold")
    for proposal in proposals:
        table.add_row(
            escape(proposal.word), f"{proposal.count:,}", escape(" ".join(proposal.pieces)), f"{proposal.saves:,}"
        )
    console.print(table)
    share = 1 - proposals.tokens_after / proposals.tokens_before
    console.print(
        f"{len(proposals)} words, {proposals.texts:,} texts: {proposals.per_text_before:.2f} tokens per text before, "
        f"{proposals.per_text_after:.2f} after ({share:.1%} fewer).",
        soft_wrap=True,
    )
    if out is not None:
        console.print(f"Written to {out}; manyheads train --add-words {out} adds them.", markup=False, soft_wrap=True)
