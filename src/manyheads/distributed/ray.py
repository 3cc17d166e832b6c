"""``score_ray``: score tables on the machines of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import torch

from manyheads.data.tables.streams.find import find_streams
from manyheads.distributed.ray_dataset import score_dataset
from manyheads.distributed.ray_parts import RayWorkers
from manyheads.distributed.ray_resources import import_ray, nodes_of, workers_of
from manyheads.distributed.worker import ModelSource, WorkerSettings
from manyheads.inference.settings import ScoringSettings
from manyheads.inference.text_columns import list_text_columns
from manyheads.scoring.engines import Engine
from manyheads.scoring.outputs import output_at
from manyheads.scoring.score_tables import TableScoring, score_tables
from manyheads.scoring.summary import ScoringSummary


def score_ray(
    data: object,
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    text: str | Sequence[str] | None = None,
    heads: Iterable[str] | None = None,
    dtype: torch.dtype | str = "auto",
    long_text: str = "truncate",
    batch_tokens: int | str = "auto",
    max_length: int | None = None,
    all_scores: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    trust_remote_code: bool = False,
) -> ScoringSummary:
    """Score tables with the workers of a Ray cluster; a worker that dies is replaced, and its rows are answered anew.

    Files are read and written by the calling process, and the workers answer their parts: the output is that of
    ``Predictor.score_table``, in input order, and a run that was killed goes on when it is started again. A
    ``ray.data.Dataset`` is read, answered and written by Ray Data, in the order that Ray preserves.

    Args:
        data: A path, folder, pattern or URL, as in ``Predictor.score_table``; or a ``ray.data.Dataset``.
        model: A folder that every machine sees, or a hub id.
        out: As in ``Predictor.score_table``; for a Dataset, a folder or URL for Parquet files.
        text: The column of texts, or two for pairs; those of training by default.
        heads: Names of the heads; all by default.
        dtype: As in ``Predictor``.
        long_text: As in ``Predictor``.
        batch_tokens: As in ``Predictor``, except that ``"auto"`` is the number saved with the model, or 2,048 (on
            GPUs at least 16,384), so that all workers answer alike.
        max_length: As in ``Predictor``.
        all_scores: Whether to add one probability column per label.
        overwrite: Whether other results in ``out`` are replaced.
        workers: Number of workers; by default one per GPU, or one per four cores where there are none.
        trust_remote_code: Whether Python code in the checkpoint may run.

    Returns:
        How many rows were scored, and what failed.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: a model in memory, or more workers than there is room for.
        ClusterError: a worker cannot start, or died again and again.
        WrongBackboneError: a worker's machine has another model at that path.
        ManyheadsError: as in ``Predictor.score_table``.

    Examples:
        >>> trained.save_pretrained(folder / "model")
        >>> summary = mh.distributed.score_ray("notes.parquet", folder / "model", folder / "scored")  # doctest: +SKIP
    """
    source = ModelSource.of(model, trust_remote_code)
    settings = ScoringSettings(max_length, long_text, dtype, batch_tokens)
    names = None if heads is None else list(heads)
    ray = import_ray()
    chosen = workers_of(nodes_of(ray), workers)
    if isinstance(data, ray.data.Dataset):
        own = WorkerSettings.of(source, text, names, settings, all_scores, "the Dataset", chosen.gpus > 0)
        return score_dataset(ray, data, own, chosen, _absolute(out), overwrite)
    core, tokenizer = source.load()
    columns = list_text_columns(text, core.heads.chosen(names).values(), str(data)[:80])
    scoring = TableScoring(columns, names, settings, all_scores, overwrite)
    engine = RayWorkers(ray, source, chosen)
    return score_tables(core, tokenizer, find_streams(data), output_at(out), scoring, engine)


def ray_engine(model: str, trust_remote_code: bool, workers: int | None) -> Engine:
    """Return what answers the parts of tables on a Ray cluster; arguments and errors are those of ``score_ray``."""
    source, ray = ModelSource.of(model, trust_remote_code), import_ray()
    return RayWorkers(ray, source, workers_of(nodes_of(ray), workers))


def _absolute(out: str | os.PathLike[str]) -> str:
    """Return a path that means the same in every process."""
    return str(out) if "://" in str(out) else os.path.abspath(out)
