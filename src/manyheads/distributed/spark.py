"""``score_spark``: score the rows of a Spark DataFrame."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import torch

from manyheads.distributed.worker import ModelSource, Worker, WorkerSettings
from manyheads.errors import MissingExtraError
from manyheads.inference.settings import ScoringSettings

# The worker of this process. Spark keeps processes, so that the model is loaded once for many tasks.
_worker: tuple[bytes, Worker] | None = None


def score_spark(
    dataframe: Any,
    model: str | os.PathLike[str],
    text: str | Sequence[str] | None = None,
    heads: Iterable[str] | None = None,
    dtype: torch.dtype | str = "auto",
    long_text: str = "truncate",
    batch_tokens: int | str = "auto",
    max_length: int | None = None,
    all_scores: bool = False,
    trust_remote_code: bool = False,
) -> Any:
    """Add the columns of every head to a Spark DataFrame, with ``mapInArrow``; nothing is computed before an action.

    Each Python process of an executor loads the model once. Its torch has as many threads as ``spark.task.cpus``, and
    it uses the task's GPU if Spark assigns one. As many rows are answered together as
    ``spark.sql.execution.arrow.maxRecordsPerBatch`` says.

    Args:
        dataframe: A ``pyspark.sql.DataFrame``.
        model: A folder that every machine sees, or a hub id.
        text: The column of texts, or two for pairs; those of training by default.
        heads: Names of the heads; all by default.
        dtype: As in ``Predictor``.
        long_text: As in ``Predictor``.
        batch_tokens: As in ``Predictor``, except that ``"auto"`` is the number saved with the model, or 2,048.
        max_length: As in ``Predictor``.
        all_scores: Whether to add one probability column per label.
        trust_remote_code: Whether Python code in the checkpoint may run.

    Returns:
        A ``pyspark.sql.DataFrame`` with the columns of a scored table, ``text_flag`` and ``error``: a row that cannot
        be answered has its reason there.

    Raises:
        MissingExtraError: PySpark is not installed.
        ConfigError: a model in memory.
        MissingColumnError: no such column of texts.
        DataError: a column has the name of an added one.

    Examples:
        >>> trained.save_pretrained(folder / "model")
        >>> scored = mh.distributed.score_spark(notes, folder / "model")  # doctest: +SKIP
    """
    types = _import_types()
    source = ModelSource.of(model, trust_remote_code)
    names = None if heads is None else list(heads)
    scoring = ScoringSettings(max_length, long_text, dtype, batch_tokens)
    settings = WorkerSettings.of(source, text, names, scoring, all_scores, "the DataFrame")
    settings.check(dataframe.columns, "the DataFrame")
    added = [types.StructField(field.name, types.from_arrow_type(field.type)) for field in settings.added]
    return dataframe.mapInArrow(partial(_answered, settings), types.StructType([*dataframe.schema.fields, *added]))


def _import_types() -> Any:
    try:
        from pyspark.sql.pandas import types
    except ImportError:
        raise MissingExtraError("Scoring in Spark needs PySpark: pip install 'manyheads[spark]'") from None
    return types


def _answered(settings: WorkerSettings, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Answer the batches of a task, in a process of an executor."""
    for batch in batches:
        yield from _worker_for(settings)(pa.Table.from_batches([batch])).combine_chunks().to_batches()


def _worker_for(settings: WorkerSettings) -> Worker:
    global _worker
    key = pickle.dumps(settings)
    if _worker is None or _worker[0] != key:
        _worker = None  # frees the memory of another model first
        _worker = key, Worker(settings, *_resources())
    return _worker[1]


def _resources() -> tuple[str | None, int | None]:
    """Return the device and the threads of this task."""
    from pyspark import TaskContext

    task = TaskContext.get()
    if task is None:
        return None, None
    gpus = task.resources().get("gpu")
    return f"cuda:{gpus.addresses[0]}" if gpus else None, task.cpus()
