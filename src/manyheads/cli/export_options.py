"""The options of ``manyheads export``, a class for each panel of its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup
from manyheads.cli.options import Json, Model, Overwrite, RemoteCode, TrainedText


@dataclass(frozen=True)
class ExportInput(OptionGroup):
    """The model, and its heads."""

    panel: ClassVar[str] = "Model"

    model: Model
    head: Annotated[
        list[str] | None,
        typer.Option("--head", "-H", metavar="NAME", help="Head to export; repeatable (default: all)."),
    ] = None
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class OnnxOptions(OptionGroup):
    """What the graph of ``--to onnx`` contains."""

    panel: ClassVar[str] = "With --to onnx"

    language_model: Annotated[
        bool | None,
        typer.Option("--language-model", help="Write a second graph that gives the language model's logits too."),
    ] = None
    quantize: Annotated[
        str | None,
        typer.Option(
            "--quantize",
            metavar="NAME",
            help="Compute the backbone in INT8: 'int8', a scale for each token, or 'int8-tensor', one for each batch.",
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="Labelled rows on which the quantized heads are compared."),
    ] = None
    text: TrainedText = None
    min_agreement: Annotated[
        float | None,
        typer.Option(
            "--min-agreement",
            metavar="SHARE",
            help="Least share of equal answers of each quantized head (default: .99).",
        ),
    ] = None
    refit: Annotated[
        str | None,
        typer.Option(
            "--refit",
            metavar="FILE",
            help="Texts that heads are fitted to on the quantized graph, best those of training.",
        ),
    ] = None


@dataclass(frozen=True)
class ExportOutput(OptionGroup):
    """The exported heads."""

    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Folder to export to; of several stock classifiers, each in its own."
        ),
    ]
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="'transformers' (default): a stock classifier; 'sentence-transformers': modules that give the logits; "
            "'onnx': one graph with all heads.",
        ),
    ] = "transformers"
    overwrite: Overwrite = False
    as_json: Json = False
