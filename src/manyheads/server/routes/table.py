"""``POST /predict/table``: a table in, the same table with the answers of all heads out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import pyarrow as pa
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from manyheads.data.tables.streams.stream import ERROR_COLUMN
from manyheads.inference.text_columns import list_text_columns
from manyheads.scoring.row_answers import check_names
from manyheads.server.engine import ColumnsWork, Engine, TableModel, TableWork
from manyheads.server.engine.queue import QueueFullError
from manyheads.server.http.body import read_bytes
from manyheads.server.http.checks import check_heads
from manyheads.server.http.errors import InvalidBodyError, InvalidQueryError, RequestError
from manyheads.server.http.facts import RequestFacts, facts_of
from manyheads.server.http.gone import ClientGoneError, unless_gone
from manyheads.server.http.query import read_query
from manyheads.server.http.schema import query_parameters, table_body, table_responses
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings
from manyheads.server.tables.blocks import blocks_of, row_tokens
from manyheads.server.tables.csv_bytes import csv_bytes
from manyheads.server.tables.places import Places
from manyheads.server.tables.upload import CSV, NAME, TSV, has_listed_words, read_upload, without_long_texts
from manyheads.server.wire.table import TableQuery

_MOST_SECONDS_TO_RETRY = 2.0


def table_routes(serving: Serving, engine: Engine, settings: ServerSettings) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["heads"])
    places = Places(settings.max_tables)
    described = query_parameters(TableQuery) | table_body((CSV, TSV))

    @router.post("/predict/table", response_class=Response, responses=table_responses(CSV), openapi_extra=described)
    async def predict_table(request: Request) -> Response:
        """Score a table, sent as the body, with all heads.

        The answer is CSV with the columns of the table and those that ``manyheads predict`` adds; ``text_flag`` and
        ``error`` are always among them. It is sent while the table is scored. The header ``x-manyheads-rows`` has the
        number of rows: if fewer arrive, the server could not finish.
        """
        query = read_query(request, TableQuery)
        content_type = _content_type(request)
        with ExitStack() as held:
            held.enter_context(places.one())
            model = _model(serving.current, query)
            data = await read_bytes(request, settings)
            rows = await asyncio.to_thread(read_upload, data, content_type, settings.max_rows)
            rows = await asyncio.to_thread(without_long_texts, rows, model.text, settings.max_characters)
            _, columns = await unless_gone(request, engine.answer(ColumnsWork(model)))
            check_names(rows.column_names[:-1], columns.names, NAME)
            works = await asyncio.to_thread(_works, model, columns, rows, settings.batch_tokens)
            _, first = await unless_gone(request, engine.answer(works[0]))
            facts_of(request).answered(model.served.fingerprint, rows.num_rows)
            scored = _scored(engine, first, works[1:], facts_of(request))
            return _ScoredTable(scored, rows.num_rows, settings.deadline_seconds, held.pop_all())

    return router


class _ScoredTable(StreamingResponse):
    """CSV that is sent while it is computed.

    Args:
        content: Its pieces.
        rows: Number of rows.
        seconds: A client that does not take a piece by then is given up.
        held: Closed when all is sent, or the client is gone.
    """

    media_type = CSV

    def __init__(self, content: AsyncIterator[bytes], rows: int, seconds: float, held: ExitStack) -> None:
        attachment = {"content-disposition": 'attachment; filename="scored.csv"', "x-content-type-options": "nosniff"}
        super().__init__(content, headers={"x-manyheads-rows": str(rows), **attachment})
        self._seconds = seconds
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            try:
                await asyncio.wait_for(send(message), self._seconds)
            except asyncio.TimeoutError:
                raise ClientGoneError("the client does not read the table") from None

        with self._held:
            await super().__call__(scope, receive, sending)


async def _scored(
    engine: Engine, first: pa.Table, works: Sequence[TableWork], facts: RequestFacts
) -> AsyncIterator[bytes]:
    yield _written(first, facts, has_header=True)
    for work in works:
        yield _written(await _answer(engine, work), facts, has_header=False)


def _written(block: pa.Table, facts: RequestFacts, has_header: bool) -> bytes:
    facts.failed_rows += block.num_rows - block.column(ERROR_COLUMN).null_count
    return csv_bytes(block, has_header)


async def _answer(engine: Engine, work: TableWork) -> pa.Table:
    """Return the answers to a block; while the queue is full, later blocks wait outside of it."""
    while True:
        try:
            _, answered = await engine.answer(work)
        except QueueFullError as error:
            await asyncio.sleep(min(error.seconds, _MOST_SECONDS_TO_RETRY))
        else:
            return answered


def _model(served: Served, query: TableQuery) -> TableModel:
    try:
        check_heads(served.core, query.heads, ["heads"])
    except InvalidBodyError as error:
        raise InvalidQueryError(error.problems) from None
    heads = served.core.heads.chosen(query.heads)
    return TableModel(served, list(heads), list_text_columns(query.text, heads.values(), NAME), query.long_text)


def _works(model: TableModel, columns: pa.Schema, rows: pa.Table, tokens: int) -> list[TableWork]:
    listed = has_listed_words(rows, model.text)
    blocks = blocks_of(rows, model.text, tokens)
    return [TableWork(model, columns, listed, block, sum(row_tokens(block, model.text))) for block in blocks]


def _content_type(request: Request) -> str:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in (CSV, TSV):
        message = f"Send the table as the body, with the header 'Content-Type: {CSV}' or 'Content-Type: {TSV}'"
        raise RequestError(415, "unsupported_media_type", message)
    return given
