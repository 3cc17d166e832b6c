"""The options of ``manyheads train``, a class for each panel of its help.

Fields have the names of the keys in a run file, and ``None`` stands for an option that was not given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup, given
from manyheads.cli.options import Json, MaxLength, Text
from manyheads.errors import HeadError


@dataclass(frozen=True)
class DataOptions(OptionGroup):
    """The table, its texts, and the backbone that reads them."""

    panel: ClassVar[str] = "Data and backbone"

    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="CSV, TSV, JSONL or Parquet file; '-' for standard input.")
    ] = None
    text: Text = None
    weight: Annotated[
        str | None,
        typer.Option(
            "--weight", metavar="COLUMN", help="Column with each row's weight in training (default: all count alike)."
        ),
    ] = None
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone", "-b", metavar="NAME", help="Checkpoint folder, hub id, or model saved by manyheads."
        ),
    ] = None
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="TOML file with any of these settings; options override it."
        ),
    ] = None
    eval: Annotated[
        str | None, typer.Option("--eval", metavar="FILE", help="Evaluation table (default: hold out rows of DATA).")
    ] = None
    eval_fraction: Annotated[
        float | None, typer.Option("--eval-fraction", metavar="SHARE", help="Share of rows to hold out (default: 0.1).")
    ] = None
    max_length: MaxLength = None
    long_text: Annotated[
        str | None,
        typer.Option("--long-text", metavar="HOW", help="'truncate' longer texts (default), or raise an 'error'."),
    ] = None
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="Format of standard input: csv (default), tsv or jsonl."),
    ] = None
    add_words: Annotated[
        str | None,
        typer.Option(
            "--add-words",
            metavar="FILE",
            help="Words to add to the tokenizer first, one per line; see 'manyheads words'.",
        ),
    ] = None
    trust_remote_code: Annotated[
        bool | None, typer.Option("--trust-remote-code", help="Run Python code that the checkpoint contains.")
    ] = None


@dataclass(frozen=True)
class HeadOptions(OptionGroup):
    """The heads, and the modules that new ones consist of."""

    panel: ClassVar[str] = "Heads"

    head: Annotated[
        list[str] | None,
        typer.Option("--head", "-H", metavar="COLUMN", help="Label column, or NAME=COLUMN; repeatable."),
    ] = None
    hidden: Annotated[
        list[int] | None,
        typer.Option("--hidden", metavar="SIZE", help="Size of a hidden layer of new heads; repeatable."),
    ] = None
    dropout: Annotated[
        float | None,
        typer.Option("--dropout", metavar="RATE", help="Dropout before each linear layer of new heads (default: 0)."),
    ] = None
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="HOW",
            help="Initial weights of new heads: 'random' (default), or 'lm_head' for the LM head's rows of the labels.",
        ),
    ] = None
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Weight classes of new heads inversely to their frequency.")
    ] = False


@dataclass(frozen=True)
class ReadingOptions(OptionGroup):
    """The features that new heads read."""

    panel: ClassVar[str] = "Features of new heads (chosen automatically by default)"

    layer: Annotated[str | None, typer.Option("--layer", metavar="LAYER", help="Hidden layer: an index, or 'mix'.")] = (
        None
    )
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool", metavar="NAME", help="Pooling for new heads: auto, cls, pooler, mean, max, last or attention."
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEMPLATE",
            help=r"Template around each text, such as '{text}\nUrgency:', where \n is a newline.",
        ),
    ] = None


@dataclass(frozen=True)
class MethodOptions(OptionGroup):
    """The training method, and the settings that most methods share."""

    panel: ClassVar[str] = "Method"

    name: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="frozen (default): solve heads on cached features; fork: tune a copy of the top blocks for the heads; "
            "lora: tune adapters for the heads; full: tune the backbone. Only full changes the language model. "
            "auto: choose one of them within a time budget.",
        ),
    ] = None
    cache: Annotated[
        str | None,
        typer.Option(
            "--cache",
            metavar="FOLDER",
            help="Where features are cached: auto (default: the user's cache), none, or a folder.",
        ),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", metavar="NAME", help="Precision: auto (default), float32, bfloat16; for frozen float16."
        ),
    ] = None
    select_by: Annotated[
        str | None,
        typer.Option(
            "--select-by",
            metavar="METRIC",
            help="Choose penalty and taps by the loss (default), 'main' for each head's main metric, or a metric such "
            "as accuracy or macro_f1 (frozen).",
        ),
    ] = None
    label_names: Annotated[
        bool | None,
        typer.Option(
            "--label-names/--no-label-names",
            help="Train on the labels' names too where rows are few and held-out rows are predicted better (default), "
            "or never (frozen).",
        ),
    ] = None


@dataclass(frozen=True)
class TuningOptions(OptionGroup):
    """The settings of the methods that train in steps."""

    panel: ClassVar[str] = "Tuning (methods fork, lora and full)"

    top: Annotated[
        int | None, typer.Option("--top", metavar="BLOCKS", help="Number of top blocks to tune (fork, full).")
    ] = None
    epochs: Annotated[
        float | None, typer.Option("--epochs", metavar="NUMBER", help="Passes over the training rows.")
    ] = None
    lr: Annotated[
        float | None, typer.Option("--lr", metavar="RATE", help="Peak learning rate of the blocks or adapters.")
    ] = None
    head_lr: Annotated[
        float | None, typer.Option("--head-lr", metavar="RATE", help="Peak learning rate of the heads.")
    ] = None
    best_by: Annotated[
        str | None, typer.Option("--best-by", metavar="HEAD", help="Keep the best epoch of one head, or of the 'mean'.")
    ] = None
    patience: Annotated[
        int | None,
        typer.Option("--patience", metavar="EPOCHS", help="Stop after this many epochs without a better one."),
    ] = None
    frozen_share: Annotated[
        float | None,
        typer.Option(
            "--frozen-share",
            metavar="SHARE",
            help="Share of the frozen head in each answer (fork; default: chosen; 0: the tuned head alone).",
        ),
    ] = None
    r: Annotated[int | None, typer.Option("--r", metavar="RANK", help="Rank of the adapters (lora).")] = None
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", metavar="NUMBER", help="LoRA scaling: output is scaled by alpha / r (lora)."),
    ] = None
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="NAME", help="Linear layers to adapt, by suffix; repeatable (lora; default: all)."
        ),
    ] = None
    lm_weight: Annotated[
        float | None, typer.Option("--lm-weight", metavar="WEIGHT", help="Weight of the language model's loss (full).")
    ] = None
    checkpoints: Annotated[
        str | None,
        typer.Option("--checkpoints", metavar="FOLDER", help="Save checkpoints; rerun the same command to resume."),
    ] = None


@dataclass(frozen=True)
class AutoOptions(OptionGroup):
    """The settings of the method that chooses one."""

    panel: ClassVar[str] = "Choosing a method (method auto)"

    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="NUMBER", help="Time budget of the choice (default: 10).")
    ] = None
    keep_lm: Annotated[
        bool | None,
        typer.Option("--keep-lm/--change-lm", help="Keep every weight of the backbone (default), or try full too."),
    ] = None


@dataclass(frozen=True)
class OutputOptions(OptionGroup):
    """The saved model, and the report."""

    out: Annotated[str | None, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to save the model in.")] = (
        None
    )
    overwrite: Annotated[bool | None, typer.Option("--overwrite", help="Replace an existing model in that folder.")] = (
        None
    )
    seed: Annotated[int | None, typer.Option("--seed", metavar="NUMBER", help="Random seed (default: 0).")] = None
    as_json: Json = False


@dataclass(frozen=True)
class TrainOptions:
    """All options of one command, as the tables of a run file."""

    data: DataOptions
    heads: HeadOptions
    reading: ReadingOptions
    method: MethodOptions
    tuning: TuningOptions
    auto: AutoOptions
    output: OutputOptions

    def run_keys(self) -> dict[str, Any]:
        """Return the keys at the top level: option -> value, for options that were given."""
        keys = given(self.data, self.output)
        text = keys.get("text", [])
        one_text = {"text": text[0]} if len(text) == 1 else {}
        return {key: value for key, value in {**keys, **one_text}.items() if key not in ("config", "as_json")}

    def method_keys(self) -> dict[str, Any]:
        """Return the keys of ``[method]``: the method's name and its settings."""
        return given(self.method, self.tuning, self.auto)

    def head_tables(self) -> dict[str, dict[str, str]]:
        """Return the tables ``[heads.NAME]``: head name -> its column, if that has another name."""
        named = [head.partition("=") for head in self.heads.head or ()]
        return {name: {"column": column} if column else {} for name, _, column in named}

    def new_head_keys(self) -> dict[str, Any]:
        """Return the keys that every new head gets.

        Raises:
            HeadError: a layer that is neither a whole number nor ``"mix"``.
        """
        keys = {**given(self.reading), **given(self.heads)}
        if "layer" in keys:
            keys["layer"] = _layer(keys["layer"])
        if "prompt" in keys:
            keys["prompt"] = keys["prompt"].replace("\\n", "\n")
        return {key: value for key, value in keys.items() if key not in ("head", "balanced")}


def _layer(layer: str) -> int | str:
    try:
        return layer if layer == "mix" else int(layer)
    except ValueError:
        raise HeadError(f"--layer must be a whole number or 'mix', got {layer!r}") from None
