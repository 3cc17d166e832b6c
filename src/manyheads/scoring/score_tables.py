"""Score tables part by part; a run that was killed goes on, and ends with the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from manyheads.core import HeadedCore
from manyheads.data.batching import TOKEN_BUDGET
from manyheads.data.tables.streams.stream import ERROR_COLUMN, TableStream
from manyheads.errors import DataError
from manyheads.inference.flags import FLAG_COLUMN
from manyheads.inference.scorer import Scorer
from manyheads.inference.settings import ScoringSettings
from manyheads.runtime.progress import rate_bar
from manyheads.scoring.begin import Wanted, begin
from manyheads.scoring.engines import Answer, Engine, ThisProcess
from manyheads.scoring.fingerprint import machine, model_fingerprint, precisions
from manyheads.scoring.journal import PartRecord
from manyheads.scoring.manifest import Manifest
from manyheads.scoring.outputs import Output
from manyheads.scoring.plan import Part, cut, parts_of
from manyheads.scoring.row_answers import AnswerSettings, columns_of, predict_with
from manyheads.scoring.summary import FIRST_ERRORS, RowError, ScoringSummary
from manyheads.types import Tokenizer

# Fewer tokens leave a GPU idle; the number that a model records may have been measured on a CPU.
_GPU_TOKEN_BUDGET = 16_384


@dataclass(frozen=True)
class TableScoring:
    """How tables are scored.

    Attributes:
        text: The column of texts, or two for pairs.
        heads: Names of heads; all by default.
        settings: How texts are scored.
        all_scores: Whether to add one column per label.
        overwrite: Whether another result in the output is replaced.
    """

    text: Sequence[str]
    heads: Sequence[str] | None = None
    settings: ScoringSettings = field(default_factory=ScoringSettings)
    all_scores: bool = False
    overwrite: bool = False


def score_tables(
    core: HeadedCore,
    tokenizer: Tokenizer,
    streams: Sequence[TableStream],
    output: Output,
    scoring: TableScoring,
    engine: Engine | None = None,
) -> ScoringSummary:
    """Score tables, in parts of some thousands of rows, each of which is written before the next is read.

    The batches of a part depend on its rows alone, and the number of threads is that of the first run, so that a part
    has the same bytes whichever run scores it.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        streams: The tables, in order.
        output: Where the rows go.
        scoring: How they are scored.
        engine: Who computes the answers; this process by default.

    Returns:
        What became of the rows.

    Raises:
        WrongManifestError: the output has parts of another model, of other settings or of other files.
        OutputExistsError: the output is something else.
        OutputError: it cannot be written, or another process is writing it.
        DataError: no table can be read, or a column has the name of an added one.
    """
    output.check(scoring.overwrite)
    heads = list(core.heads.chosen(scoring.heads))
    scorer = Scorer(core, tokenizer, scoring.settings)
    engine = ThisProcess(scorer, core.backbone.device) if engine is None else engine
    columns = columns_of(predict_with(scorer, heads), len(scoring.text) == 2, scoring.all_scores)
    with output.opened():
        wanted = Wanted(
            model=lambda: model_fingerprint(core, tokenizer, heads),
            settings=_settings(core, heads, output.part_ending(streams[0].ending), scoring),
            decided={"batch_tokens": fixed_token_budget(core, engine.uses_gpu)},
            machine={**machine(core), "threads": engine.threads},
            text=scoring.text,
            added=columns.names,
            overwrite=scoring.overwrite,
        )
        manifest = begin(streams, output, wanted)
        with engine.started(_answer_settings(manifest, scoring, columns), manifest) as answer:
            run = _Run(streams, output, manifest, answer)
            failures = run.score()
        records = output.journal.read()
        if not failures:
            output.finish(manifest.parts, manifest.settings["ending"], _unused(records.values()))
    return run.summary(heads, records, failures)


def fixed_token_budget(core: HeadedCore, uses_gpu: bool) -> int:
    """Return tokens per batch without measuring: a clock would make each run's last bits its own."""
    known = core.backbone.token_budget or TOKEN_BUDGET
    return max(known, _GPU_TOKEN_BUDGET) if uses_gpu else known


class _Run:
    """The parts of a run, those of earlier runs among them."""

    def __init__(self, streams: Sequence[TableStream], output: Output, manifest: Manifest, answer: Answer) -> None:
        self._streams = streams
        self._output = output
        self._manifest = manifest
        self._answer = answer
        self._ending = manifest.settings["ending"]
        self._kept = self._complete()

    def score(self) -> dict[str, str]:
        """Score the parts that are not complete, and return why files could not be read."""
        failures: dict[str, str] = {}
        journal, before = self._output.journal, sum(record.rows for record in self._kept.values())
        with rate_bar("Scoring", self._manifest.rows, "rows", before) as advance:
            for part, scored in self._answer(self._rows(failures)):
                size = self._output.add(part, scored, self._ending)
                with self._output.writing():
                    journal.add(_record(part, scored, size))
                advance(scored.num_rows)
        return failures

    def summary(
        self, heads: Sequence[str], records: Mapping[str, PartRecord], failures: Mapping[str, str]
    ) -> ScoringSummary:
        """Return what became of all rows."""
        found = list(records.values())
        files = {part.name: self._manifest.inputs[part.file].name for part in self._manifest.parts}
        first = [RowError(files[record.part], row, error) for record in found for row, error in record.first_errors]
        return ScoringSummary(
            self._output.name,
            heads,
            sum(record.rows for record in found),
            sum(record.rows for record in self._kept.values()),
            sum(record.empty for record in found),
            sum(record.truncated for record in found),
            sum(record.split for record in found),
            sum(record.errors for record in found),
            first[:FIRST_ERRORS],
            failures,
        )

    def _complete(self) -> dict[str, PartRecord]:
        """Return the records of the parts that are there, and forget those whose file is not."""
        paths = {part.name: self._output.path(part, self._ending) for part in self._manifest.parts}
        records = {
            name: record
            for name, record in self._output.journal.read().items()
            if name in paths and paths[name].is_file() and paths[name].stat().st_size == record.bytes
        }
        with self._output.writing():
            self._output.journal.keep(records)
        return records

    def _rows(self, failures: dict[str, str]) -> Iterator[tuple[Part, pa.Table]]:
        """Yield the parts that are not complete with their rows, and note why a file cannot be read to its end."""
        manifest, text = self._manifest, self._manifest.settings["text"]
        for number, (stream, one) in enumerate(zip(self._streams, manifest.inputs, strict=True)):
            parts = parts_of(number, one.rows, one.part_rows)
            todo = [part for part in parts if part.name not in self._kept]
            if one.failure:
                failures[stream.name] = one.failure
            elif todo:
                try:
                    yield from cut(stream.pieces(one.reading, manifest.schema, todo[0].start, text), todo, stream.name)
                except DataError as error:
                    failures[stream.name] = str(error)


def _settings(core: HeadedCore, heads: Sequence[str], ending: str, scoring: TableScoring) -> dict[str, Any]:
    """Return all that answers depend on besides model and texts, as plain JSON."""
    own = scoring.settings
    return {
        **{name: value for name, value in asdict(own).items() if name not in ("dtype", "batch_tokens")},
        "heads": list(heads),
        "text": list(scoring.text),
        "all_scores": scoring.all_scores,
        "precision": precisions(core, heads, own),
        "batch_tokens": own.token_budget,
        "ending": ending,
        "listed": None,
    }


def _answer_settings(manifest: Manifest, scoring: TableScoring, columns: pa.Schema) -> AnswerSettings:
    known = manifest.settings
    settings = replace(scoring.settings, batch_tokens=known["batch_tokens"])
    return AnswerSettings(known["heads"], scoring.text, settings, known["listed"], columns, scoring.all_scores)


def _record(part: Part, scored: pa.Table, size: int) -> PartRecord:
    flags, errors = (scored.column(name).to_pylist() for name in (FLAG_COLUMN, ERROR_COLUMN))
    wrong = [(row, error) for row, error in enumerate(errors, start=part.start + 1) if error is not None]
    empty, truncated, split = (flags.count(flag) for flag in ("empty", "truncated", "split"))
    return PartRecord(part.name, scored.num_rows, size, empty, truncated, split, len(wrong), wrong[:FIRST_ERRORS])


def _unused(records: Iterable[PartRecord]) -> list[str]:
    """Return the added columns that are null in every row."""
    used = {FLAG_COLUMN: False, ERROR_COLUMN: False}
    for record in records:
        used[FLAG_COLUMN] |= bool(record.empty or record.truncated or record.split)
        used[ERROR_COLUMN] |= bool(record.errors)
    return [name for name, is_used in used.items() if not is_used]
