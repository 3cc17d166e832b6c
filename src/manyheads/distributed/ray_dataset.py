"""Ray Data answers the rows of its datasets, and writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset
from pyarrow import fs

from manyheads.data.tables.streams.stream import ERROR_COLUMN
from manyheads.distributed.ray_parts import worker_errors
from manyheads.distributed.ray_resources import Workers
from manyheads.distributed.worker import Worker, WorkerSettings
from manyheads.errors import OutputExistsError
from manyheads.inference.flags import FLAG_COLUMN
from manyheads.scoring.summary import FIRST_ERRORS, RowError, ScoringSummary

# Rows that a worker answers at a time; sorted by length, they leave little padding.
_ROWS = 2048
# Rows of a written file.
_ROWS_OF_FILE = 65_536


def score_dataset(
    ray: Any, dataset: Any, settings: WorkerSettings, workers: Workers, out: str, overwrite: bool
) -> ScoringSummary:
    """Write a dataset with its answers to a folder of Parquet files whose names sort in the order of the rows.

    Raises:
        OutputExistsError: the folder has files, and Ray Data has no checkpoint to go on with.
        DataError: a column that is missing or in the way.
    """
    if not overwrite and dataset.context.checkpoint_config is None:
        _check_empty(out)
    with worker_errors(ray):
        settings.check(dataset.schema().names, "the Dataset")
        scored = dataset.map_batches(
            Worker,
            fn_constructor_args=(settings, workers.device, workers.cpus),
            batch_size=_ROWS,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers.count),
            # Less than is used, so that tasks that read and write find room on a machine full of workers.
            num_cpus=workers.cpus / 4,
            num_gpus=workers.gpus,
            udf_modifying_row_count=False,
        )
        with _in_order(scored.context.execution_options):
            scored.write_parquet(
                out,
                min_rows_per_file=_ROWS_OF_FILE,
                mode="overwrite" if overwrite else "append",
                filename_provider=_part_names(ray),
                ray_remote_args={"num_cpus": 0.5},
            )
    return _summary(out, settings)


@contextmanager
def _in_order(options: Any) -> Iterator[None]:
    """Have rows in order meanwhile; the options are also those of the caller's dataset."""
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def _part_names(ray: Any) -> Any:
    """Return Ray's provider of names, such that names sort in the order of the rows."""

    class PartNames(ray.data.datasource.FilenameProvider):  # type: ignore[misc]
        def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
            return f"part-{task_index:06d}-{write_uuid}.parquet"

    return PartNames()


def _listed(out: str) -> Any:
    system, path = fs.FileSystem.from_uri(out)
    return system.get_file_info(fs.FileSelector(path, allow_not_found=True))


def _check_empty(out: str) -> None:
    if _listed(out):
        raise OutputExistsError(f"{out}: is not empty; choose another folder, or pass overwrite=True")


def _summary(out: str, settings: WorkerSettings) -> ScoringSummary:
    """Count what was written, from the two columns that tell."""
    # Ray removes a folder into which it has written no row.
    fragments = pa_dataset.dataset(out, format="parquet").get_fragments() if _listed(out) else []
    counts: Counter[str | None] = Counter()
    wrong, first = 0, list[RowError]()
    for fragment in sorted(fragments, key=lambda fragment: fragment.path):
        table = fragment.to_table(columns=[FLAG_COLUMN, ERROR_COLUMN])
        errors = table.column(ERROR_COLUMN)
        wrong += len(errors) - errors.null_count
        for item in pc.value_counts(table.column(FLAG_COLUMN)).to_pylist():
            counts[item["values"]] += item["counts"]
        for row in pc.indices_nonzero(errors.is_valid()).to_pylist()[: FIRST_ERRORS - len(first)]:
            first.append(RowError(fragment.path, row + 1, errors[row].as_py()))
    return ScoringSummary(
        out=out,
        heads=settings.answers.heads,
        rows=counts.total(),
        resumed=0,
        empty=counts["empty"],
        truncated=counts["truncated"],
        split=counts["split"],
        errors=wrong,
        first_errors=first,
        failures={},
    )
