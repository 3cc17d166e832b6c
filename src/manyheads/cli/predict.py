"""``manyheads predict``."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, cast

from rich.console import Console

from manyheads.checkpoint.open_model import open_model
from manyheads.cli.predict_options import PredictEngine, PredictInput, PredictOutput
from manyheads.data.tables.streams.find import find_streams, stream_of_input
from manyheads.data.tables.streams.stream import TableStream
from manyheads.errors import ConfigError, counted
from manyheads.inference.flags import FLAG_COLUMN
from manyheads.inference.settings import ScoringSettings
from manyheads.inference.text_columns import list_text_columns
from manyheads.runtime.collecting import uncollected_imports
from manyheads.scoring.engines import Engine
from manyheads.scoring.outputs import FolderOutput, Output, StandardOutput, output_at
from manyheads.scoring.score_tables import TableScoring, score_tables
from manyheads.scoring.summary import ScoringSummary
from manyheads.types import Tokenizer

# Exit codes: a file could not be read; some rows have an error; SIGINT; SIGTERM.
_FAILED, _ROW_ERRORS, _INTERRUPTED, _TERMINATED = 1, 3, 130, 143


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def run_predict(source: PredictInput, engine: PredictEngine, output: PredictOutput) -> None:
    """Score the tables, report what became of their rows, and exit with a code that says so."""
    with tempfile.TemporaryDirectory(prefix="manyheads-") as temporary:
        target = StandardOutput(Path(temporary, "parts")) if output.out == "-" else output_at(output.out)
        target.check(output.overwrite)
        streams, answering = _streams(source, Path(temporary)), _engine(source, engine)
        try:
            with _terminable():
                summary = _scored(source, output, streams, target, answering)
        except KeyboardInterrupt as interrupt:
            _exit_interrupted(target, isinstance(interrupt, _Terminated))
    _report(summary, output, target)
    if summary.failures or summary.errors:
        sys.exit(_FAILED if summary.failures else _ROW_ERRORS)


def _streams(source: PredictInput, temporary: Path) -> Sequence[TableStream]:
    if source.data == "-":
        return [stream_of_input(sys.stdin.buffer, source.format, temporary / "input")]
    return find_streams(source.data)


def _engine(source: PredictInput, options: PredictEngine) -> Engine | None:
    """Return who computes the answers; ``None`` for this process."""
    if options.engine == "here":
        if options.workers is not None:
            raise ConfigError("--workers: is for a cluster; add --engine ray")
        return None
    if options.engine != "ray":
        raise ConfigError(f"--engine: must be 'here' or 'ray', got {options.engine!r}")
    from manyheads.distributed.ray import ray_engine

    return ray_engine(source.model, source.trust_remote_code, options.workers)


def _scored(
    source: PredictInput,
    output: PredictOutput,
    streams: Sequence[TableStream],
    target: Output,
    engine: Engine | None,
) -> ScoringSummary:
    with uncollected_imports():  # the model's own modules are imported too
        core, tokenizer = open_model(source.model, trust_remote_code=source.trust_remote_code)
    heads = core.heads.chosen(source.head or None)
    scoring = TableScoring(
        list_text_columns(source.text, heads.values(), source.data),
        list(heads),
        ScoringSettings(source.max_length, source.long_text),
        output.all_scores,
        output.overwrite,
    )
    return score_tables(core, cast(Tokenizer, tokenizer), streams, target, scoring, engine)  # without one, it says so


@contextmanager
def _terminable() -> Iterator[None]:
    """End as after SIGINT when SIGTERM arrives: with whole files, and a line that says how to go on."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_interrupted(target: Output, terminated: bool) -> NoReturn:
    kept = not isinstance(target, StandardOutput) and target.manifest.exists()
    complete = counted(len(target.journal.read()), "part") if kept else "no part"
    goes_on = f"; {complete} complete in {target.name}, run the same command again to go on" if kept else ""
    print(f"manyheads: interrupted{goes_on or '; no result was written'}", file=sys.stderr)
    sys.exit(_TERMINATED if terminated else _INTERRUPTED)


def _report(summary: ScoringSummary, output: PredictOutput, target: Output) -> None:
    if output.as_json and output.out != "-":
        print(json.dumps(summary.to_dict(), ensure_ascii=False))
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in _lines(summary, target):
        console.print(line, markup=False)


def _lines(summary: ScoringSummary, target: Output) -> Iterator[str]:
    heads = counted(len(summary.heads), "head")
    earlier = f", {summary.resumed:,} of them by an earlier run" if summary.resumed else ""
    is_written = isinstance(target, FolderOutput) or not summary.failures
    where = summary.out if is_written else f"{summary.out} is written when all files can be read"
    yield f"{counted(summary.rows, 'row')} predicted with {heads}{earlier}: {where}"
    flagged = {"empty": summary.empty, "truncated": summary.truncated, "split": summary.split}
    marked = [counted(count, f"{name} text") for name, count in flagged.items() if count]
    if marked:
        yield f"Column {FLAG_COLUMN} marks {', '.join(marked)}."
    if summary.errors:
        yield f"Column error says why {counted(summary.errors, 'row')} could not be predicted:"
        yield from (f"  {one.file}, row {one.row}: {one.error}" for one in summary.first_errors)
    if summary.failures:
        yield f"{counted(len(summary.failures), 'file')} could not be read; repair, and run the same command again:"
        yield from (f"  {failure}" for failure in summary.failures.values())
