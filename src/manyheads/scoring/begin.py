"""The beginning of a run: what is scored, with what, and whether an earlier run of the same is there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from manyheads.data.tables.columns import ArrowColumn
from manyheads.data.tables.streams.conform import shared_schema
from manyheads.data.tables.streams.stream import Survey, TableStream
from manyheads.data.texts.texts import are_listed_words
from manyheads.errors import (
    DataError,
    EmptyTableError,
    InputWarning,
    WrongManifestError,
    counted,
    listed,
)
from manyheads.runtime.progress import spinner
from manyheads.scoring.manifest import Input, Manifest, differences
from manyheads.scoring.outputs import Output
from manyheads.scoring.plan import rows_of_part
from manyheads.scoring.row_answers import check_names, check_text_columns

Streams = Sequence[TableStream]


@dataclass(frozen=True)
class Wanted:
    """What a run is to score with.

    Attributes:
        model: Returns the model's fingerprint; takes a while.
        settings: The settings; ``None`` for one that the first run decides.
        decided: The decisions of a first run.
        machine: What the last bits of answers depend on.
        text: The columns of texts.
        added: The names of the columns that predictions add.
        overwrite: Whether parts of another run are deleted.
    """

    model: Callable[[], Mapping[str, Any]]
    settings: Mapping[str, Any]
    decided: Mapping[str, Any]
    machine: Mapping[str, Any]
    text: Sequence[str]
    added: Sequence[str]
    overwrite: bool


def begin(streams: Streams, output: Output, wanted: Wanted) -> Manifest:
    """Return the manifest of a run, which goes on with an earlier one if that was of the same.

    Args:
        streams: The files.
        output: Where the parts are.
        wanted: What they are scored with.

    Raises:
        WrongManifestError: parts of another model, of other settings or of other files are there.
        EmptyTableError: no file has a row.
        MissingColumnError: the first file has no such column of texts.
        DataError: no file can be read, or a column has the name of an added one.
    """
    before = _earlier(output, wanted.overwrite)
    if before is not None and before.model:
        problem = _problem(before, streams, wanted)
        if not problem:
            _warn_of_machine(before, wanted.machine, output.name)
            return _with_repaired(before, streams, output)
        if not wanted.overwrite:
            raise WrongManifestError(
                f"{output.name}: has parts that were scored otherwise: {problem}; choose another place, or pass "
                "overwrite=True (--overwrite) to score the table anew"
            )
    manifest = _new(streams, wanted, output)
    if before is not None:
        output.clear(before.parts, before.settings["ending"])
    with output.writing():
        output.journal.keep({})
        manifest.write(output.manifest)
    return manifest


def _earlier(output: Output, overwrite: bool) -> Manifest | None:
    if not output.manifest.exists():
        return None
    try:
        return Manifest.read(output.manifest)
    except WrongManifestError:
        if overwrite:
            return None
        raise


def _problem(before: Manifest, streams: Streams, wanted: Wanted) -> str:
    """Return what differs between an earlier run and this one, or ``""``."""
    now = {name: before.settings.get(name) if value is None else value for name, value in wanted.settings.items()}
    found = differences(
        {"model": before.model, "settings": before.settings}, {"model": wanted.model(), "settings": now}
    )
    return "; ".join(filter(None, [found, _changed_input(before.inputs, streams)]))


def _changed_input(before: Sequence[Input], streams: Streams) -> str:
    """Return which file differs from the earlier ones, or ``""``; one that could not be read may have changed."""
    if len(before) != len(streams):
        return f"the source has {counted(len(streams), 'file')}, had {len(before)}"
    for one, stream in zip(before, streams, strict=True):
        if PurePath(one.name).name != PurePath(stream.name).name:
            return f"the source has {stream.name} in the place of {one.name}"
        if one.failure is None and one.identity != stream.identity:
            return f"{stream.name} has changed"
    return ""


def _warn_of_machine(before: Manifest, machine: Mapping[str, Any], name: str) -> None:
    ignored = {"threads": None}  # those of the beginning are used
    found = differences({**before.machine, **ignored}, {**machine, **ignored})
    if found:
        warnings.warn(f"{name}: {found}; the last digits of scores may differ from here", InputWarning, stacklevel=2)


def _with_repaired(before: Manifest, streams: Streams, output: Output) -> Manifest:
    """Return the manifest with the files that can be read now, but could not be before."""
    inputs = list(before.inputs)
    for number, (one, stream) in enumerate(zip(inputs, streams, strict=True)):
        if one.failure is None:
            continue
        survey, failure = _surveyed(stream)
        if survey is not None and set(survey.schema.names) != set(before.schema.names):
            failure = _other_columns(stream, survey, before.schema)
            survey = None
        inputs[number] = _input(stream, survey, failure)
    after = replace(before, inputs=inputs)
    if inputs != list(before.inputs):
        with output.writing():
            after.write(output.manifest)
    return after


def _new(streams: Streams, wanted: Wanted, output: Output) -> Manifest:
    with spinner("Counting rows"):
        found = [_surveyed(stream) for stream in streams]
    surveys = [survey for survey, _ in found if survey is not None]
    if not surveys:
        raise found[0][1] or DataError(f"{streams[0].name}: cannot be read")
    first = next((one for one in surveys if set(wanted.text) <= set(one.schema.names)), surveys[0])
    name = streams[[survey for survey, _ in found].index(first)].name
    check_text_columns(first.schema.names, wanted.text, name)
    check_names(first.schema.names, wanted.added, name)
    for number, (survey, _) in enumerate(found):
        if survey is not None and set(survey.schema.names) != set(first.schema.names):
            found[number] = (None, _other_columns(streams[number], survey, first.schema))
    schema = shared_schema([first.schema, *(survey.schema for survey, _ in found if survey is not None)])
    inputs = [_input(stream, survey, failure) for stream, (survey, failure) in zip(streams, found, strict=True)]
    _check_any_row(streams, inputs, schema)
    decided = {**wanted.decided, "listed": _are_listed(streams, inputs, schema, wanted.text)}
    settings = {name: decided.get(name) if value is None else value for name, value in wanted.settings.items()}
    manifest = Manifest({}, settings, wanted.machine, schema, inputs)
    return replace(manifest, model=wanted.model()) if output.keeps(manifest.parts) else manifest


def _surveyed(stream: TableStream) -> tuple[Survey | None, DataError | None]:
    try:
        return stream.survey(), None
    except DataError as error:
        return None, error


def _input(stream: TableStream, survey: Survey | None, failure: DataError | None) -> Input:
    if survey is None:
        return Input(stream.name, stream.identity, failure=str(failure))
    return Input(stream.name, stream.identity, survey.rows, rows_of_part(survey), survey.reading)


def _other_columns(stream: TableStream, survey: Survey, schema: pa.Schema) -> DataError:
    return DataError(
        f"{stream.name}: has the columns {listed(survey.schema.names)}, and other files have {listed(schema.names)}; "
        "score it into a place of its own"
    )


def _check_any_row(streams: Streams, inputs: Sequence[Input], schema: pa.Schema) -> None:
    if not any(one.rows for one in inputs):
        raise EmptyTableError(
            f"{streams[0].name} has no rows, only the columns {listed(schema.names)}; it needs at least one"
        )


def _are_listed(streams: Streams, inputs: Sequence[Input], schema: pa.Schema, text: Sequence[str]) -> bool:
    """Return whether texts are lists of words written as text, by the first rows: all rows are read alike."""
    number = next(number for number, one in enumerate(inputs) if one.rows)
    rows = next(streams[number].pieces(inputs[number].reading, schema, 0, text))
    return len(text) == 1 and are_listed_words(ArrowColumn(rows.column(text[0])).values())
