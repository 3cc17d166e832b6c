"""The options of ``manyheads words``, a class for each panel of its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup
from manyheads.cli.options import Data, FileFormat, Json, Overwrite, RemoteCode


@dataclass(frozen=True)
class WordsInput(OptionGroup):
    """The texts, the tokenizer, and which words to propose."""

    panel: ClassVar[str] = "Data and tokenizer"

    data: Data
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            "-b",
            metavar="NAME",
            help="Checkpoint folder or hub id with the tokenizer; weights are not read.",
        ),
    ]
    text: Annotated[
        list[str], typer.Option("--text", "-t", metavar="COLUMN", help="Text column; repeat for text pairs.")
    ]
    top: Annotated[int, typer.Option("--top", metavar="WORDS", help="Maximum number of words.")] = 50
    min_count: Annotated[
        int, typer.Option("--min-count", metavar="COUNT", help="Minimum number of occurrences in the table.")
    ] = 5
    format: FileFormat = "csv"
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class WordsOutput(OptionGroup):
    """The list of words."""

    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write the words, one per line, for train --add-words."),
    ] = None
    overwrite: Overwrite = False
    as_json: Json = False
