"""The commands and their options."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from manyheads._version import VERSION
from manyheads.cli.decide_options import DecideGoals, DecideInput, DecideOutput
from manyheads.cli.evaluate_options import (
    CompareInput,
    CompareOutput,
    CrossValidation,
    EvaluateInput,
    EvaluateOutput,
)
from manyheads.cli.export_options import ExportInput, ExportOutput, OnnxOptions
from manyheads.cli.labels_options import LabelsOutput, NextInput, SuspectInput
from manyheads.cli.option_groups import Command, grouped
from manyheads.cli.options import Json
from manyheads.cli.predict_options import PredictEngine, PredictInput, PredictOutput
from manyheads.cli.serve_options import ServeAddress, ServeLimits, ServeModel
from manyheads.cli.train_options import (
    AutoOptions,
    DataOptions,
    HeadOptions,
    MethodOptions,
    OutputOptions,
    ReadingOptions,
    TrainOptions,
    TuningOptions,
)
from manyheads.cli.usage import ClickError, Group, fail
from manyheads.cli.words_options import WordsInput, WordsOutput
from manyheads.errors import ManyheadsError, one_line
from manyheads.runtime.collecting import uncollected_imports

_PURPOSE = "Add any number of prediction heads to one pretrained Transformer and keep the head it came with."
_INTERRUPTED = 130
_FIRST_FAILS_WITHIN = 60  # seconds: after them, an error was not the first process's as well, and is printed

app = typer.Typer(
    name="manyheads",
    cls=Group,
    help=_PURPOSE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"manyheads {VERSION}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


@app.command(
    cls=Command,
    epilog="Example: manyheads train ads.csv --backbone bert-base-german-cased --text ad "
    "--head job_type --head education --out model/",
)
@grouped
def train(
    data: DataOptions,
    heads: HeadOptions,
    reading: ReadingOptions,
    method: MethodOptions,
    tuning: TuningOptions,
    auto: AutoOptions,
    output: OutputOptions,
) -> None:
    """Train heads on a table; kinds and labels are inferred from its columns."""
    with uncollected_imports():
        from manyheads.cli.train import run_train

    run_train(TrainOptions(data, heads, reading, method, tuning, auto, output))


@app.command(cls=Command, epilog="Example: manyheads predict model/ new.csv --out scored.parquet")
@grouped
def predict(source: PredictInput, engine: PredictEngine, output: PredictOutput) -> None:
    """Predict a table with every head in one pass; its own columns are kept."""
    with uncollected_imports():
        from manyheads.cli.predict import run_predict

    run_predict(source, engine, output)


@app.command(cls=Command, epilog="Example: manyheads evaluate model/ test.csv --by region --report report.html")
@grouped
def evaluate(source: EvaluateInput, folds: CrossValidation, output: EvaluateOutput) -> None:
    """Measure a model's heads on labelled rows, beside simple baselines; the model does not change."""
    with uncollected_imports():
        from manyheads.cli.evaluate import run_evaluate

    run_evaluate(source, folds, output)


@app.command(cls=Command, epilog="Example: manyheads compare run1/ run2/ --data test.csv")
@grouped
def compare(source: CompareInput, output: CompareOutput) -> None:
    """Measure two models on the same labelled rows, and show which differences are real."""
    with uncollected_imports():
        from manyheads.cli.compare import run_compare

    run_compare(source, output)


@app.command(cls=Command, epilog="Example: manyheads decide model/ valid.csv --head urgency --max-error 0.02")
@grouped
def decide(source: DecideInput, goals: DecideGoals, output: DecideOutput) -> None:
    """Fit when a head abstains, its prediction sets, thresholds or costs, on rows that it was not trained on."""
    with uncollected_imports():
        from manyheads.cli.decide import run_decide

    run_decide(source, goals, output)


@app.command(cls=Command, epilog="Example: manyheads export model/ --to transformers --head urgency --out urgency/")
@grouped
def export(source: ExportInput, onnx: OnnxOptions, output: ExportOutput) -> None:
    """Write heads in the format of another library, with logits equal to the model's."""
    with uncollected_imports():
        from manyheads.cli.export import run_export

    run_export(source, onnx, output)


@app.command(epilog="Example: manyheads inspect model/")
def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model or heads saved by manyheads, or any checkpoint's folder.")
    ],
    as_json: Json = False,
) -> None:
    """Show a model's backbone and heads: features, training rows and metrics."""
    with uncollected_imports():
        from manyheads.cli.inspect import run_inspect

    run_inspect(model, as_json)


@app.command(cls=Command, epilog="Example: manyheads serve model/ --port 8000")
@grouped
def serve(source: ServeModel, address: ServeAddress, limits: ServeLimits) -> None:
    """Answer requests over HTTP with every head and the language model, until interrupted."""
    from manyheads.cli.serve import run_serve

    run_serve(source, address, limits)


@app.command(cls=Command, epilog="Example: manyheads words notes.csv --text note --backbone gpt2 --out words.txt")
@grouped
def words(source: WordsInput, output: WordsOutput) -> None:
    """Propose words to add to a tokenizer, those that save the most tokens first."""
    from manyheads.cli.words import run_words

    run_words(source, output)


labels_app = typer.Typer(cls=Group, help="Find wrong labels, and texts to label next.", no_args_is_help=True)
app.add_typer(labels_app, name="labels")


@labels_app.command(
    "suspect",
    cls=Command,
    epilog="Example: manyheads labels suspect all-MiniLM-L6-v2 ads.csv -t ad -H level -o out.csv",
)
@grouped
def labels_suspect(source: SuspectInput, output: LabelsOutput) -> None:
    """Write the table with the labels that are probably wrong first, to correct and to train on."""
    with uncollected_imports():
        from manyheads.cli.labels import run_suspect

    run_suspect(source, output)


@labels_app.command("next", cls=Command, epilog="Example: manyheads labels next model/ new.csv -n 300 -o to-label.csv")
@grouped
def labels_next(source: NextInput, output: LabelsOutput) -> None:
    """Write the rows whose labels would teach most: uncertain ones that differ from each other."""
    with uncollected_imports():
        from manyheads.cli.labels import run_next

    run_next(source, output)


cache_app = typer.Typer(cls=Group, help="List or clear cached features.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
CacheFolder = Annotated[
    str, typer.Option("--cache", metavar="FOLDER", help="The cache's folder (default: the user's cache).")
]


@cache_app.command("list", epilog="Example: manyheads cache list")
def cache_list(folder: CacheFolder = "auto", as_json: Json = False) -> None:
    """Show texts and megabytes per backbone, tap and precision."""
    from manyheads.cli.cache import run_list

    run_list(folder, as_json)


@cache_app.command("clear", epilog="Example: manyheads cache clear")
def cache_clear(folder: CacheFolder = "auto") -> None:
    """Delete all cached features; they are computed again when needed."""
    from manyheads.cli.cache import run_clear

    run_clear(folder)


@app.command(epilog="Example: manyheads demo --out demo-output/")
def demo(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to keep the models in.")
    ] = None,
) -> None:
    """Run two stories on real text: two heads on MiniLM, and classifiers on a small GPT-2 that stays unchanged."""
    from rich.console import Console

    from manyheads.demo.run import run_demo

    run_demo(out, Console())


@contextmanager
def _printed_steps() -> Iterator[None]:
    """Print every step as a plain line where standard error is no terminal."""
    logger = logging.getLogger("manyheads.progress")
    if sys.stderr.isatty():
        yield
        return
    handler, level = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def run() -> None:
    """Run the command line; an error is one line on standard error."""
    try:
        with _printed_steps():
            status = app(standalone_mode=False, prog_name="manyheads")
    except ClickError as error:
        fail(error)
    except ManyheadsError as error:
        if _is_repeated():
            # The launcher ends every process as soon as one has failed, the first perhaps before it has printed the
            # error; so this one lets it be the first to fail.
            time.sleep(_FIRST_FAILS_WITHIN)
        typer.echo(f"manyheads: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`), so nothing more can be printed.
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        # All files of ours are written through functions that name them, so this is the terminal, a pipe or `> file`.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what it still holds must not raise again at exit
        name = error.filename or "standard output"
        typer.echo(f"manyheads: {name}: {error.strerror or one_line(error)}; write to another place", err=True)
        sys.exit(1)
    if status == _INTERRUPTED:
        typer.echo("manyheads: interrupted; no result was written", err=True)
    sys.exit(status or 0)


def _is_repeated() -> bool:
    """Return whether the machine's first process prints the same error, as all do until they are connected."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        return False
    distributed = sys.modules.get("torch.distributed")
    return distributed is None or not distributed.is_initialized()
