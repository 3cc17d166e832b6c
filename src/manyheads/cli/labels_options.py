"""The options of ``manyheads labels``, a class for each panel of their help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup
from manyheads.cli.options import Data, FileFormat, Json, MaxLength, Overwrite, RemoteCode, TrainedText

Folds = Annotated[int, typer.Option("--folds", metavar="COUNT", help="Number of folds.")]
Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", help="Random seed.")]


@dataclass(frozen=True)
class SuspectInput(OptionGroup):
    """The backbone or model, and the labels to check."""

    panel: ClassVar[str] = "Model and data"

    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Checkpoint folder, hub id, or model saved by manyheads.")
    ]
    data: Data
    text: TrainedText = None
    head: Annotated[
        list[str] | None,
        typer.Option("--head", "-H", metavar="COLUMN", help="Label column, or NAME=COLUMN (default: the model's)."),
    ] = None
    folds: Folds = 5
    seed: Seed = 0
    max_length: MaxLength = None
    format: FileFormat = "csv"
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class NextInput(OptionGroup):
    """The trained model, and the texts to choose from."""

    panel: ClassVar[str] = "Model and data"

    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model saved by manyheads, with trained heads.")]
    data: Data
    count: Annotated[int, typer.Option("--count", "-n", metavar="ROWS", help="Number of rows to choose.")]
    text: TrainedText = None
    head: Annotated[
        list[str] | None,
        typer.Option("--head", "-H", metavar="NAME", help="Head to label for; repeatable (default: all)."),
    ] = None
    seed: Seed = 0
    max_length: MaxLength = None
    format: FileFormat = "csv"
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class LabelsOutput(OptionGroup):
    """The table to work on."""

    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE", help="A .csv, .tsv, .jsonl or .parquet file to write.")
    ]
    overwrite: Overwrite = False
    as_json: Json = False
