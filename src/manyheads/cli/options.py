"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(metavar="DATA", help="CSV, TSV, JSONL or Parquet file; '-' for standard input.")]
Tables = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="CSV, TSV, JSONL or Parquet: a file, folder, 'pattern*' or URL; '-' for standard input."
    ),
]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model saved by manyheads, or a stock classifier's folder or hub id.")
]
Text = Annotated[
    list[str] | None, typer.Option("--text", "-t", metavar="COLUMN", help="Text column; repeat for text pairs.")
]
TrainedText = Annotated[
    list[str] | None,
    typer.Option("--text", "-t", metavar="COLUMN", help="Text column (default: the one used in training)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
MaxLength = Annotated[
    int | None,
    typer.Option("--max-length", metavar="TOKENS", help="Maximum tokens per text (default: the backbone's limit)."),
]
LongText = Annotated[
    str,
    typer.Option(
        "--long-text",
        metavar="HOW",
        help="'truncate' longer texts (default), take the 'mean' or 'max' of their windows, or raise an 'error'.",
    ),
]
FileFormat = Annotated[
    str, typer.Option("--format", metavar="NAME", help="Format of standard input: csv (default), tsv or jsonl.")
]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run Python code that the checkpoint contains.")]
