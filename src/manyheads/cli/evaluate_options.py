"""The options of ``manyheads evaluate`` and ``manyheads compare``, a class for each panel of their help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup
from manyheads.cli.options import Data, FileFormat, Json, LongText, MaxLength, Model, Overwrite, RemoteCode, TrainedText

EvaluatedHead = Annotated[
    list[str] | None,
    typer.Option("--head", "-H", metavar="NAME", help="Head to evaluate; repeatable (default: all)."),
]


@dataclass(frozen=True)
class EvaluateInput(OptionGroup):
    """The model, and the labelled rows."""

    panel: ClassVar[str] = "Model and data"

    model: Model
    data: Data
    text: TrainedText = None
    head: EvaluatedHead = None
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="Column by whose values the rows are sliced; repeatable."),
    ] = None
    train_data: Annotated[
        str | None,
        typer.Option("--train-data", metavar="FILE", help="The training table, to fit the baselines on."),
    ] = None
    max_length: MaxLength = None
    long_text: LongText = "truncate"
    format: FileFormat = "csv"
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class CrossValidation(OptionGroup):
    """Cross-validation instead of an evaluation of the model as it is."""

    panel: ClassVar[str] = "Cross-validation"

    cross_validate: Annotated[
        bool,
        typer.Option(
            "--cross-validate",
            help="Train on all but a fold of DATA and predict the fold, for each fold; MODEL may be a backbone, and "
            "--head a label column, or NAME=COLUMN.",
        ),
    ] = False
    folds: Annotated[int | None, typer.Option("--folds", metavar="COUNT", help="Number of folds (default: 5).")] = None
    repeats: Annotated[
        int | None, typer.Option("--repeats", metavar="COUNT", help="Number of divisions into folds (default: 1).")
    ] = None
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="NAME", help="Training method with its default settings (default: frozen)."),
    ] = None
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Train on fewer rows too, and extrapolate to twice as many.")
    ] = False
    seed: Annotated[int | None, typer.Option("--seed", metavar="NUMBER", help="Random seed (default: 0).")] = None


@dataclass(frozen=True)
class CompareInput(OptionGroup):
    """The two models, and the labelled rows."""

    panel: ClassVar[str] = "Models and data"

    first: Annotated[str, typer.Argument(metavar="MODEL", help="Model saved by manyheads.")]
    second: Annotated[str, typer.Argument(metavar="MODEL", help="Another one.")]
    data: Annotated[
        str,
        typer.Option("--data", "-d", metavar="FILE", help="CSV, TSV, JSONL or Parquet file with labelled rows."),
    ]
    text: TrainedText = None
    head: EvaluatedHead = None
    max_length: MaxLength = None
    long_text: LongText = "truncate"
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class EvaluateOutput(OptionGroup):
    """The report."""

    report: Annotated[
        str | None,
        typer.Option("--report", metavar="FILE", help="Also write the report, with pictures, as one HTML file."),
    ] = None
    overwrite: Overwrite = False
    as_json: Json = False


@dataclass(frozen=True)
class CompareOutput(OptionGroup):
    """The comparison."""

    as_json: Json = False
