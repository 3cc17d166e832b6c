"""The options of ``manyheads decide``, a class for each panel of its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup
from manyheads.cli.options import Data, FileFormat, Json, LongText, MaxLength, Overwrite, RemoteCode, TrainedText


@dataclass(frozen=True)
class DecideInput(OptionGroup):
    """The model, its head, and the labelled rows."""

    panel: ClassVar[str] = "Model and data"

    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model saved by manyheads.")]
    data: Data
    head: Annotated[str, typer.Option("--head", "-H", metavar="NAME", help="The head whose decision is fitted.")]
    text: TrainedText = None
    max_length: MaxLength = None
    long_text: LongText = "truncate"
    format: FileFormat = "csv"
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class DecideGoals(OptionGroup):
    """What the decision should promise."""

    panel: ClassVar[str] = "Goals"

    max_error: Annotated[
        float | None,
        typer.Option(
            "--max-error", metavar="SHARE", help="Abstain, so that at most this share of the answers is wrong."
        ),
    ] = None
    confidence: Annotated[
        float | None,
        typer.Option("--confidence", metavar="SHARE", help="Keep --max-error with this probability, not on average."),
    ] = None
    answered: Annotated[
        float | None,
        typer.Option(
            "--answered", metavar="SHARE", help="Answer at least this share of such texts; abstain for others."
        ),
    ] = None
    abstain_by: Annotated[
        str, typer.Option("--abstain-by", metavar="NAME", help="'entropy' (default) or 'probability'.")
    ] = "entropy"
    set_coverage: Annotated[
        float | None,
        typer.Option(
            "--set-coverage", metavar="SHARE", help="Predict sets; at least this share contains the right label."
        ),
    ] = None
    set_by: Annotated[str, typer.Option("--set-by", metavar="NAME", help="'lac' (default) or 'aps'.")] = "lac"
    thresholds: Annotated[
        str | None,
        typer.Option(
            "--thresholds",
            metavar="GOAL",
            help="Thresholds of a multi-label head: f1, precision=SHARE or recall=SHARE for each label.",
        ),
    ] = None
    costs: Annotated[
        Path | None,
        typer.Option(
            "--costs", metavar="FILE", help="Costs of answers: right labels in the first column, a column per answer."
        ),
    ] = None


@dataclass(frozen=True)
class DecideOutput(OptionGroup):
    """The model with the new decision."""

    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Folder to save to (default: MODEL, only its heads.json)."),
    ] = None
    overwrite: Overwrite = False
    as_json: Json = False
