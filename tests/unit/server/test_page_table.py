"""``POST /predict/table``: the same answers as ``score_table``, block by block, within limits."""

from __future__ import annotations

import csv
import http.client
import io
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

import manyheads as mh
from manyheads.server import ServerSettings, create_app
from manyheads.server.engine import PredictWork, TableModel, TableWork
from manyheads.server.served import Served
from manyheads.server.tables import blocks
from manyheads.server.tables.blocks import blocks_of
from tests.browser import wait_for
from tests.families import TEXTS
from tests.unit.server.page_tools import every_kind, served

CSV = {"content-type": "text/csv"}
TSV = {"content-type": "text/tab-separated-values"}


@pytest.fixture(scope="module")
def model(saved: Callable[[str], Path]) -> mh.HeadedModel:
    return every_kind(saved("bert"))


@pytest.fixture(scope="module")
def client(model: mh.HeadedModel) -> Iterator[TestClient]:
    settings = ServerSettings(max_characters=2000, max_rows=1000, max_body_bytes=1 << 20)
    with TestClient(create_app(model, settings), raise_server_exceptions=False) as client:
        yield client


def table_of(rows: int) -> str:
    lines = [f'{row};"{TEXTS[row % len(TEXTS)]} {row}";x' for row in range(rows)]
    return "\n".join(["id;note;=who", *lines]) + "\n"


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def scored(model: mh.HeadedModel, content: str, folder: Path, **options: Any) -> list[dict[str, str]]:
    """Return what the library makes of the same file."""
    source, out = folder / "in.csv", folder / "out.csv"
    source.write_text(content, "utf-8")
    mh.Predictor(model).score_table(source, out, **options)
    return cells(out.read_text("utf-8"))


def test_a_table_of_one_block_has_the_cells_of_score_table(
    model: mh.HeadedModel, client: TestClient, tmp_path: Path
) -> None:
    content = table_of(40) + '40;"a";b;too many\n41;;empty\n'
    answer = client.post("/predict/table?text=note", content=content, headers=CSV)
    expected = scored(model, content, tmp_path, text="note")
    assert answer.status_code == 200
    assert answer.headers["x-manyheads-rows"] == "42"
    assert cells(answer.text) == expected
    assert expected[40]["error"].startswith("the row has 4 cells")
    assert expected[41]["text_flag"] == "empty"


def test_blocks_are_one_file_with_one_header(model: mh.HeadedModel, client: TestClient, tmp_path: Path) -> None:
    content = table_of(blocks.BLOCK_ROWS * 2 + 1)
    answer = cells(client.post("/predict/table?heads=urgency,days", content=content, headers=CSV).text)
    expected = scored(model, content, tmp_path, text="note", heads=["urgency", "days"])
    assert [row["urgency_label"] for row in answer] == [row["urgency_label"] for row in expected]
    for column in ("urgency_score", "days_value"):
        assert [float(row[column]) for row in answer] == pytest.approx([float(row[column]) for row in expected], 1e-5)


def test_pairs_are_two_columns(saved: Callable[[str], Path], tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("same", mh.Multiclass(["no", "yes"]))
    rows = [{"a": one, "b": other, "same": "yes" if one == other else "no"} for one in TEXTS for other in TEXTS[:3]]
    mh.train(model, rows, text=("a", "b"), method=mh.Frozen(l2=0.1, cache=None), eval_fraction=0)
    content = "b,a\nmild cough,burn\nburn,burn\n"
    with TestClient(create_app(model)) as client:
        known = client.post("/predict/table", content=content, headers=CSV)
        told = client.post("/predict/table?text=a&text=b", content=content, headers=CSV)
        swapped = client.post("/predict/table?text=b&text=a", content=content, headers=CSV)
    expected = scored(model, content, tmp_path, text=("a", "b"))
    assert [row["same_score"] for row in cells(known.text)] == [row["same_score"] for row in expected]
    assert known.text == told.text != swapped.text


@pytest.mark.parametrize("cell", ["=1+1", "+49 30 1", "-5", "@SUM(A1)", "\t=1", "'=1", ' "x" ', "0012", "1e5"])
def test_cells_stay_as_they_are(client: TestClient, cell: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["note", "=other"], ["mild cough", cell], [cell, "b"]])
    answer = list(csv.reader(io.StringIO(client.post("/predict/table", content=buffer.getvalue(), headers=CSV).text)))
    assert [row[:2] for row in answer] == [["note", "=other"], ["mild cough", cell], [cell, "b"]]


def test_tabs_divide_cells_if_the_type_says_so(client: TestClient) -> None:
    content = "note\tid\npain, cough; fever\t1\n"
    assert cells(client.post("/predict/table", content=content, headers=TSV).text)[0]["id"] == "1"
    assert cells(client.post("/predict/table", content=content, headers=CSV).text)[0]["id"] == "1"
    assert client.post("/predict/table", content="note;id\na;1\n", headers=TSV).status_code == 422


def test_a_text_that_is_too_long_is_an_error_of_its_row(client: TestClient) -> None:
    answer = cells(client.post("/predict/table", content=f"note\ncough\n{'pain ' * 401}\nburn\n", headers=CSV).text)
    assert [bool(row["urgency_label"]) for row in answer] == [True, False, True]
    assert answer[1]["error"] == "the text has 2,005 characters, at most 2,000 are allowed; shorten it"


def test_a_text_beyond_the_models_limit_may_be_an_error_of_its_row(client: TestClient) -> None:
    content = f"note\ncough\n{'pain ' * 100}\n"
    cut = cells(client.post("/predict/table", content=content, headers=CSV).text)
    strict = cells(client.post("/predict/table?long_text=error", content=content, headers=CSV).text)
    assert [row["text_flag"] for row in cut] == ["", "truncated"]
    assert (strict[1]["urgency_label"], strict[0]) == ("", cut[0])
    assert "more tokens than the limit" in strict[1]["error"]


@pytest.mark.parametrize(
    ("query", "content", "headers", "status", "told"),
    [
        ("?text=notes", "note\na\n", CSV, 422, "no column 'notes'; did you mean 'note'? Its columns: 'note'"),
        ("?heads=urgenc", "note\na\n", CSV, 422, "is no head; the heads are 'urgency'"),
        ("?heads=", "note\na\n", CSV, 422, "is no head; the heads are"),
        ("?head=urgency", "note\na\n", CSV, 422, '["query","head"]'),
        ("?text=a&text=b&text=c", "note\na\n", CSV, 422, '["query","text"]'),
        ("?text=note&text=note", "note\na\n", CSV, 422, "was trained on single texts"),
        ("?long_text=cut", "note\na\n", CSV, 422, '["query","long_text"]'),
        ("", "", CSV, 422, "is empty"),
        ("", "note\n", CSV, 422, "has no rows"),
        ("", "note,urgency_label\na,b\n", CSV, 422, "already has the columns 'urgency_label'"),
        ("", "note,error\na,b\n", CSV, 422, "already has the columns 'error'"),
        ("", b"PK\x03\x04\0\0", CSV, 422, "NUL byte"),
        ("", "note\na\n".encode("utf-16"), CSV, 422, "UTF-8"),
        ("", 'note\n"a\n', CSV, 422, "never closed"),
        ("", "note\n" + "a\n" * 1001, CSV, 413, "1,001 rows, at most 1,000"),
        ("", ",".join(map(str, range(1001))) + "\n", CSV, 413, "1,001 columns, at most 1,000"),
        ("?text=" + "a" * 1001, "note\na\n", CSV, 422, "at most 1000 characters"),
        ("", "note\n" + "a" * (1 << 20), CSV, 413, "more than 1,048,576 bytes"),
        ("", "note\na\n", {"content-type": "application/x-www-form-urlencoded"}, 415, "'Content-Type: text/csv'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_computed(
    client: TestClient, query: str, content: str | bytes, headers: dict[str, str], status: int, told: str
) -> None:
    answer = client.post(f"/predict/table{query}", content=content, headers=headers)
    assert answer.status_code == status
    assert told in answer.text


def test_a_table_needs_the_key(model: mh.HeadedModel) -> None:
    with TestClient(create_app(model, ServerSettings(api_key="abc"))) as client:
        assert client.post("/predict/table", content="note\na\n", headers=CSV).status_code == 401


def test_blocks_are_small_by_rows_and_by_tokens() -> None:
    texts = ["a" * 40] * 10 + ["b" * 4000] + ["c"] * 600
    rows = pa.table({"note": texts, "error": pa.array([None] * 610 + ["bad"], pa.string())})
    found = blocks_of(rows, ["note"], 100)
    assert [block.num_rows for block in found] == [9, 1, 1, 100, 100, 100, 100, 100, 100]
    assert pa.concat_tables(found).equals(rows)
    assert [block.num_rows for block in blocks_of(rows, ["note"], 10**6)] == [256, 256, 99]


def test_a_table_is_answered_by_one_model(model: mh.HeadedModel) -> None:
    first = Served.of(model.core, model.tokenizer)
    newer = replace(first, fingerprint="newer", scorer=None)  # type: ignore[arg-type]
    table_model = TableModel(first, ["days"], ["note"], "truncate")
    rows = pa.table({"note": ["mild cough"], "error": pa.array([None], pa.string())})
    columns = pa.schema([("days_value", pa.float32())])
    [answer] = TableWork(table_model, columns, False, rows, 3).run(newer, [])
    assert answer["days_value"][0].as_py() == model.predict(["mild cough"])[0]["days"].value


class Gate:
    """Lets the engine compute a block only when it is opened, and notes the order of works."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.order: list[str] = []
        self.opened = threading.Event()
        self._hold(patch, TableWork, "table", after=1)
        self._hold(patch, PredictWork, "predict", after=None)

    def _hold(self, patch: pytest.MonkeyPatch, kind: Any, name: str, after: int | None) -> None:
        run = kind.run

        def noting(work: Any, *rest: Any) -> Any:
            if self.order.count(name) == after:
                assert self.opened.wait(20)
            self.order.append(name)
            return run(work, *rest)

        patch.setattr(kind, "run", noting)


def post(url: str, content: str) -> http.client.HTTPResponse:
    request = urllib.request.Request(f"{url}predict/table", content.encode(), CSV)
    return urllib.request.urlopen(request)  # type: ignore[no-any-return]


def test_other_requests_are_answered_between_two_blocks(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with served(model, ServerSettings(batch_tokens=64)) as url, post(url, table_of(64)) as answer:
        header = answer.readline().decode()
        wait_for(lambda: gate.order == ["table"], "the first block")
        other = threading.Thread(target=lambda: urllib.request.urlopen(predicting(url)).close())
        other.start()
        wait_for(lambda: waiting(url) >= 1, "the other request in the queue")
        gate.opened.set()
        text = header + answer.read().decode()
        other.join()
    assert [row["id"] for row in cells(text)] == [str(row) for row in range(64)]
    assert gate.order[:3] == ["table", "table", "predict"]
    assert gate.order.count("table") > 5


def test_a_client_that_leaves_costs_no_further_block(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with served(model, ServerSettings(batch_tokens=64, max_tables=1)) as url:
        answer = post(url, table_of(64))
        answer.readline()
        with pytest.raises(urllib.error.HTTPError, match="429") as full:
            post(url, table_of(1))
        full.value.close()
        answer.close()
        wait_for(lambda: has_place(url), "the place of the one that left")
        gate.opened.set()
        with post(url, table_of(1)) as other:
            assert len(cells(other.read().decode())) == 1
    assert gate.order.count("table") <= 3


def test_a_client_that_does_not_read_is_given_up(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # The rows themselves instead of answers: only the size of the response matters.
    monkeypatch.setattr(TableWork, "run", lambda work, *rest: [work.table])
    content = f"note,x\n{('cough,' + 'y' * 20_000 + chr(10)) * 1000}".encode()
    settings = ServerSettings(max_tables=1, deadline_seconds=2, max_body_bytes=1 << 25, batch_tokens=64)
    with served(model, settings) as url, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        client.connect((urlsplit(url).hostname, urlsplit(url).port))
        head = f"POST /predict/table HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\ncontent-length: {len(content)}"
        client.sendall(f"{head}\r\n\r\n".encode() + content)
        assert client.recv(9) == b"HTTP/1.1 "
        assert not has_place(url)
        wait_for(lambda: has_place(url), "the place of the one that does not read")


def test_a_failure_after_the_beginning_breaks_the_connection(
    model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, blocks_run = TableWork.run, []

    def failing(work: TableWork, *rest: Any) -> Any:
        blocks_run.append(work)
        if len(blocks_run) > 2:
            raise MemoryError("no memory")
        return run(work, *rest)

    monkeypatch.setattr(TableWork, "run", failing)
    broken = pytest.raises((http.client.IncompleteRead, ConnectionError))
    with served(model, ServerSettings(batch_tokens=64)) as url, post(url, table_of(64)) as answer, broken:
        answer.read()


def predicting(url: str) -> urllib.request.Request:
    body = b'{"text": "mild cough"}'
    return urllib.request.Request(f"{url}predict", body, {"content-type": "application/json"})


def waiting(url: str) -> int:
    with urllib.request.urlopen(f"{url}info") as answer:
        return int(answer.read().decode().split('"waiting":')[1].split(",")[0])


def has_place(url: str) -> bool:
    """Return whether a table would be read: one that has no rows fails after it got a place."""
    try:
        post(url, "note\n")
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 422
    return False
