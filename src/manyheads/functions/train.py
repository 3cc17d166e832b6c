"""``train``: train the heads of a model on a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manyheads.data.labelled import Reading
from manyheads.model import HeadedModel
from manyheads.runtime.processes import is_first
from manyheads.training import Method, TrainResult, run_training
from manyheads.training.dataset import Evaluation
from manyheads.training.methods import as_method

if TYPE_CHECKING:
    from manyheads.training.loggers import Loggers


def train(
    model: HeadedModel,
    data: object,
    text: str | Sequence[str],
    method: Method | type[Method] | str | None = None,
    heads: Iterable[str] | None = None,
    eval_data: object = None,
    eval_fraction: float = 0.1,
    max_length: int | None = None,
    long_text: str = "truncate",
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    weight: str | None = None,
    report_to: str | Sequence[str] | None = None,
) -> TrainResult:
    """Train a model's heads on a table, in place.

    Args:
        model: The model.
        data: A path (CSV, TSV, JSONL, Parquet), a pandas, polars or pyarrow table, a ``datasets.Dataset``, or a list
            of dicts. A row with a missing label still trains the other heads.
        text: The text column, or two columns for text pairs.
        method: ``Frozen()`` by default; a method, its class or its name (``"fork"``). ``Fork()`` and ``LoRA()`` tune
            a copy of the backbone that only heads read, ``Full()`` tunes the backbone itself. ``Auto()`` chooses one of
            them within a time budget.
        heads: Names of the heads to train; all by default.
        eval_data: A table of evaluation rows; by default, rows of ``data`` are held out.
        eval_fraction: Share of the rows to hold out, with equal texts on one side; 0 for no evaluation.
        max_length: Maximum tokens per text; the backbone's limit by default.
        long_text: ``"truncate"`` longer texts, or raise an ``"error"``.
        seed: Seed of every random choice.
        out: Folder to save the trained model in; checked before training starts.
        overwrite: Whether ``out`` may be replaced.
        weight: A column of ``data`` with the weight of each row in all losses and in the choice of L2: finite numbers
            of at least 0. A row with the weight 2 counts like two rows, and one with 0 is left out. Metrics count all
            evaluation rows alike, and so do the screening of taps and the word statistics of ``Lexical`` all training
            rows.
        report_to: Loggers of transformers, such as ``"tensorboard"``, ``"wandb"`` or ``"trackio"``, which receive one
            record at the end: metrics as ``eval_head.metric`` and chosen settings as ``head.setting``. For records
            during training, pass ``trainer=TrainingArguments(report_to=...)`` to a tuning method.

    Returns:
        Metrics on the evaluation rows, the alternatives tried, and whether the language model is unchanged.

    Raises:
        DataError: a table, column, text or label that cannot be used; the message names the head and the row.
        OutputExistsError: ``out`` is not empty.
        MissingExtraError: the package of a logger, or accelerate, which ``report_to`` needs, is not installed.

    Examples:
        >>> result = mh.train(model, table, text="note", eval_fraction=0.25)
        >>> result.lm_check.bit_identical
        True
    """
    loggers = None if report_to is None else _loggers(report_to)
    result = run_training(
        model.core,
        model.tokenizer,
        data,
        as_method(method),
        heads,
        Reading(text, max_length, long_text, weight),
        Evaluation(eval_data, eval_fraction, seed),
        None if out is None else Path(out),
        overwrite,
    )
    if loggers is not None and is_first():
        loggers.report(result)
    return result


def _loggers(report_to: str | Sequence[str]) -> Loggers:
    """Return loggers; a mistake in their names is found before training."""
    from manyheads.training.loggers import Loggers  # imports transformers' Trainer, which is slow

    return Loggers(report_to)
