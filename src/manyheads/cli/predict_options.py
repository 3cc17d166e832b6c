"""The options of ``manyheads predict``, a class for each panel of its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup
from manyheads.cli.options import (
    FileFormat,
    Json,
    LongText,
    MaxLength,
    Model,
    Overwrite,
    RemoteCode,
    Tables,
    TrainedText,
)


@dataclass(frozen=True)
class PredictInput(OptionGroup):
    """The model, and the texts to predict."""

    panel: ClassVar[str] = "Model and data"

    model: Model
    data: Tables
    text: TrainedText = None
    head: Annotated[
        list[str] | None,
        typer.Option("--head", "-H", metavar="NAME", help="Head to predict with; repeatable (default: all)."),
    ] = None
    max_length: MaxLength = None
    long_text: LongText = "truncate"
    format: FileFormat = "csv"
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class PredictEngine(OptionGroup):
    """Who computes the answers."""

    panel: ClassVar[str] = "Machines"

    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="'here' (default), or 'ray' for the workers of a cluster.")
    ] = "here"
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="Workers of the cluster (default: one per GPU or four cores)."),
    ] = None


@dataclass(frozen=True)
class PredictOutput(OptionGroup):
    """The scored table."""

    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="A folder, for a file per part; a .csv, .tsv, .jsonl or .parquet file; '-' for CSV on standard output "
            "(default).",
            show_default=False,
        ),
    ] = "-"
    all_scores: Annotated[bool, typer.Option("--all-scores", help="Add one probability column per label.")] = False
    overwrite: Overwrite = False
    as_json: Json = False
