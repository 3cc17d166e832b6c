"""The commands and their options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from manyheads._version import VERSION
from manyheads.errors import ManyheadsError

app = typer.Typer(
    name="manyheads",
    help="As many prediction heads as you like, side by side, on one pretrained Transformer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at the output path.")]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", help="Most tokens of a text; the backbone's limit by default.")
]
LongText = Annotated[str, typer.Option("--long-text", help="A longer text: 'truncate' it (and count), or 'error'.")]
FileFormat = Annotated[str, typer.Option("--format", help="Format of standard input: csv, tsv or jsonl.")]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let Python code that the checkpoint brings run.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"manyheads {VERSION}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the release and exit.")
    ] = False,
) -> None:
    """As many prediction heads as you like, side by side, on one pretrained Transformer."""


@app.command(
    epilog="Example: manyheads train ads.csv --backbone bert-base-german-cased --text ad "
    "--head job_type --head education --out model/"
)
def train(
    data: Annotated[
        str | None, typer.Argument(help="A CSV, TSV, JSONL or Parquet file; '-' for standard input.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="A TOML file with any of these settings; options given here win over it."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", "-b", help="A checkpoint's folder or hub id, or a saved manyheads model."),
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", "-t", help="Text column; twice for text pairs.")] = None,
    head: Annotated[
        list[str] | None, typer.Option("--head", "-H", help="A label column, or name=column; once per head.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to save the model in.")] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="Hidden layer that new heads read: an index, or 'mix'; searched by default."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", help="Its pooling: auto, cls, pooler, mean, max, last, attention; searched by default."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help=r"Template around the text that new heads read, such as '{text}\nUrgency:'; \n is a line's end.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init", help="How new heads start: 'random' (the default), or 'lm_head' with the labels' words."
        ),
    ] = None,
    hidden: Annotated[
        list[int] | None, typer.Option("--hidden", help="Size of a fully connected layer; once per layer.")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option("--dropout", help="Dropout before each fully connected layer; 0 by default.")
    ] = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="Weigh classes by their rarity.")] = False,
    evaluate: Annotated[
        str | None, typer.Option("--eval", help="Table to evaluate on; else rows are held out.")
    ] = None,
    eval_fraction: Annotated[
        float | None, typer.Option("--eval-fraction", help="Share of the rows held out; 0.1 by default.")
    ] = None,
    max_length: MaxLength = None,
    long_text: Annotated[
        str | None,
        typer.Option("--long-text", help="A longer text: 'truncate' it (and count; the default), or 'error'."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="For every random choice; 0 by default.")] = None,
    cache: Annotated[
        str | None,
        typer.Option("--cache", help="Where features are kept: auto (the user's cache; the default), a folder, none."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="Precision: auto (the default), float32, bfloat16, and frozen's own float16."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="frozen (the default): solve heads on stored features; fork: tune a copy of the top blocks that only "
            "heads read; lora: tune adapters that only heads read; full: tune the backbone.",
        ),
    ] = None,
    top: Annotated[int | None, typer.Option("--top", help="With fork, full: tune the top k blocks alone.")] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="With fork, lora, full: passes over the training rows.")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="With fork, lora, full: peak learning rate of what is tuned beside the heads."),
    ] = None,
    head_lr: Annotated[
        float | None, typer.Option("--head-lr", help="With fork, lora, full: that of the heads.")
    ] = None,
    best_by: Annotated[
        str | None,
        typer.Option("--best-by", help="With fork, lora, full: keep the best epoch, by 'mean' or one head's name."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="With fork, lora, full: epochs without a better one to stop after.")
    ] = None,
    r: Annotated[int | None, typer.Option("--r", help="With lora: rank of the adapters.")] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="With lora: their output's factor, times r.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="With lora: a linear layer by its name's end; once per layer; else all."),
    ] = None,
    lm_weight: Annotated[
        float | None, typer.Option("--lm-weight", help="With full: factor of the language model's own loss.")
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            "--checkpoints",
            help="With fork, lora, full: checkpoints go in this folder; killed, the same command goes on from them.",
        ),
    ] = None,
    add_words: Annotated[
        Path | None,
        typer.Option("--add-words", help="A file of words, one a line, to teach the tokenizer first; see words."),
    ] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", help="Format of standard input: csv (the default), tsv or jsonl.")
    ] = None,
    overwrite: Overwrite = False,
    trust_remote_code: RemoteCode = False,
    as_json: Json = False,
) -> None:
    """Train heads side by side on a table; kinds and labels are inferred from the columns."""
    from manyheads.cli.train import TrainOptions, run_train

    run = {
        "data": data, "backbone": backbone, "text": text[0] if text and len(text) == 1 else text or None,
        "out": None if out is None else str(out), "eval": evaluate, "eval_fraction": eval_fraction,
        "max_length": max_length, "long_text": long_text, "seed": seed, "format": file_format,
        "add_words": None if add_words is None else str(add_words),
        "overwrite": overwrite or None, "trust_remote_code": trust_remote_code or None,
    }  # fmt: skip
    tuning = {
        "top": top, "epochs": epochs, "lr": lr, "head_lr": head_lr, "lm_weight": lm_weight, "best_by": best_by,
        "patience": patience, "r": r, "alpha": alpha, "targets": target or None,
    }  # fmt: skip
    chosen = {"name": method, "cache": cache, "dtype": dtype, "checkpoints": checkpoints, **tuning}
    new_heads = {
        "layer": layer, "pool": pool, "prompt": None if prompt is None else prompt.replace("\\n", "\n"), "init": init,
        "hidden": hidden or None, "dropout": dropout,
    }  # fmt: skip
    run_train(TrainOptions(_given(run), _given(chosen), head or [], _given(new_heads), balanced), config, as_json)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


@app.command(epilog="Example: manyheads predict model/ new.csv --out scored.parquet")
def predict(
    model: Annotated[str, typer.Argument(help="A saved manyheads model, or a stock classifier.")],
    data: Annotated[str, typer.Argument(help="A CSV, TSV, JSONL or Parquet file; '-' for standard input.")],
    out: Annotated[
        str, typer.Option("--out", "-o", help="A .csv, .tsv, .jsonl or .parquet file; '-' for CSV on standard output.")
    ] = "-",
    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", help="Text column; the one of training by default.")
    ] = None,
    head: Annotated[
        list[str] | None, typer.Option("--head", "-H", help="A head to ask; all by default; once per head.")
    ] = None,
    all_scores: Annotated[bool, typer.Option("--all-scores", help="One probability column per label.")] = False,
    max_length: MaxLength = None,
    long_text: LongText = "truncate",
    file_format: FileFormat = "csv",
    overwrite: Overwrite = False,
    trust_remote_code: RemoteCode = False,
    as_json: Json = False,
) -> None:
    """Score a table with every head in one pass; the input's columns are kept."""
    from manyheads.cli.predict import PredictRequest, run_predict

    request = PredictRequest(
        model, data, out, tuple(text or ()), tuple(head) if head else None, all_scores, max_length, long_text,
        file_format, overwrite, trust_remote_code,
    )  # fmt: skip
    run_predict(request, as_json)


@app.command(epilog="Example: manyheads inspect model/")
def inspect(
    model: Annotated[str, typer.Argument(help="A saved manyheads model, saved heads, or any checkpoint's folder.")],
    as_json: Json = False,
) -> None:
    """Show a model's backbone and heads: what they read, what they learned from, how good they are."""
    from manyheads.cli.inspect import run_inspect

    run_inspect(model, as_json)


@app.command(epilog="Example: manyheads words notes.csv --text note --backbone gpt2 --out words.txt")
def words(
    data: Annotated[str, typer.Argument(help="A CSV, TSV, JSONL or Parquet file; '-' for standard input.")],
    backbone: Annotated[
        str, typer.Option("--backbone", "-b", help="Whose tokenizer: a checkpoint's folder or hub id; no weights.")
    ],
    text: Annotated[list[str], typer.Option("--text", "-t", help="Text column; twice for text pairs.")],
    top: Annotated[int, typer.Option("--top", help="How many words at most.")] = 50,
    min_count: Annotated[int, typer.Option("--min-count", help="How often a word must stand in the table.")] = 5,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write the words to, one a line, for train --add-words.")
    ] = None,
    file_format: FileFormat = "csv",
    overwrite: Overwrite = False,
    trust_remote_code: RemoteCode = False,
    as_json: Json = False,
) -> None:
    """Propose words that the tokenizer shatters, by how many tokens it would save to teach it them."""
    from manyheads.cli.words import WordsRequest, run_words

    request = WordsRequest(
        data, backbone, tuple(text), top, min_count, out, file_format, overwrite, trust_remote_code
    )  # fmt: skip
    run_words(request, as_json)


cache_app = typer.Typer(help="List or clear the features that are kept between runs.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
CacheFolder = Annotated[str, typer.Option("--cache", help="The cache's folder; the user's own by default.")]


@cache_app.command("list", epilog="Example: manyheads cache list")
def cache_list(folder: CacheFolder = "auto", as_json: Json = False) -> None:
    """Show what is kept: per backbone, tap and precision, how many texts and megabytes."""
    from manyheads.cli.cache import run_list

    run_list(folder, as_json)


@cache_app.command("clear", epilog="Example: manyheads cache clear")
def cache_clear(folder: CacheFolder = "auto") -> None:
    """Delete all of it; what is needed again is computed again."""
    from manyheads.cli.cache import run_clear

    run_clear(folder)


@app.command(epilog="Example: manyheads demo --out demo-output/")
def demo(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to keep the demo's models in.")] = None,
) -> None:
    """Run both stories on real text: two heads beside MiniLM, and classifiers beside a small GPT-2 kept as it is."""
    from rich.console import Console

    from manyheads.demo.run import run_demo

    run_demo(out, Console())


def run() -> None:
    """Run the command line."""
    try:
        app()
    except ManyheadsError as error:
        if not _said_by_another():
            typer.echo(f"manyheads: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("manyheads: interrupted; no result was written", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): not our failure, and nobody is left to tell.
        sys.stderr.close()
        sys.exit(141)


def _said_by_another() -> bool:
    """Tell whether the machine's first process says the same: as long as processes have not met, all do the same."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        return False
    distributed = sys.modules.get("torch.distributed")
    return distributed is None or not distributed.is_initialized()
