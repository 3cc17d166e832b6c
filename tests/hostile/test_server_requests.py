"""Requests that nobody should send: no fault of the server, small errors, and nothing of the request in them.

Every route whose body is JSON is asked, by its name in ``/openapi.json``.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

import manyheads as mh
from manyheads.server import ServerSettings, create_app
from tests.asgi import Client

SECRET = "sphinx of black quartz"
JSON = {"content-type": "application/json"}
MEGABYTE = 1 << 20
# A response to a request that was not understood has no reason to be longer.
SHORT = 4096


@pytest.fixture(scope="module")
def app(saved: Callable[[str], Path]) -> Any:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"])).trained = True
    model.add_head("topics", mh.MultiLabel(labels=["heart", "skin"])).trained = True
    model.add_head("hours", mh.Regression()).trained = True
    model.add_head("parts", mh.Tokens(labels=["body", "drug"])).trained = True
    return create_app(model, ServerSettings(body_seconds=2.0, max_characters=100_000))


@pytest.fixture(scope="module")
def client(app: Any) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def json_routes(client: TestClient) -> list[str]:
    paths = client.get("/openapi.json").json()["paths"]
    return [
        path
        for path, operations in paths.items()
        if "application/json" in operations.get("post", {}).get("requestBody", {}).get("content", {})
    ]


def text(value: bytes) -> bytes:
    return b'{"text":"' + SECRET.encode() + b'","texts":["' + SECRET.encode() + value + b'"]}'


BODIES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": SECRET.encode(),
    "cut off": b'{"text":"' + SECRET.encode(),
    "null": b"null",
    "a list": b'["' + SECRET.encode() + b'"]',
    "a string": b'"' + SECRET.encode() + b'"',
    "an empty object": b"{}",
    "NaN": b'{"text":NaN,"top_k":NaN,"temperature":NaN}',
    "infinity": b'{"text":"a","top_k":Infinity,"max_new_tokens":-Infinity,"temperature":1e999}',
    "numbers of 5,000 digits": b'{"text":"a","top_k":' + b"9" * 5000 + b',"max_new_tokens":-' + b"9" * 5000 + b"}",
    "half a surrogate pair": text(rb"\ud800"),
    "two halves in the wrong order": text(rb"\udc00\ud800"),
    "bad UTF-8": text(b"\xff\xfe\xc0\x80"),
    "UTF-16": text(b"").decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + text(b""),
    "a raw NUL": text(b"\x00"),
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"text":' * 100_000,
    "deep in a field": b'{"text":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "unknown names": b"{" + b",".join(b'"%s%d":1' % (SECRET.encode(), row) for row in range(50_000)) + b"}",
    "an unknown name of a megabyte": b'{"' + SECRET.encode() * 50_000 + b'":1}',
    "a million wrong texts": b'{"texts":[' + b"1," * 1_000_000 + b"1]}",
    "a million wrong inputs": b'{"input":[' + b"1," * 1_000_000 + b"1]}",
    "a million wrong levels": b'{"model":"jev-latest","state":"a","questions":{"a":{"type":"score","criteria":['
    + b"1," * 1_000_000
    + b"1]}}}",
    "wrong questions": b'{"model":"jev-latest","state":"a","questions":{'
    + b",".join(b'"%d":1' % row for row in range(300_000))
    + b"}}",
    "wrong options": b'{"model":"jev-latest","state":"a","questions":{"a":{"type":"choice","criteria":{'
    + b",".join(b'"%d":1' % row for row in range(300_000))
    + b"}}}}",
    "wrong words": b'{"words":[' + b"[1]," * 100_000 + b"[1]]}",
    "wrong pairs": b'{"pairs":[' + b'["a"],' * 100_000 + b'["a"]]}',
    "unknown heads": b'{"text":"a","heads":["' + b'","'.join([SECRET.encode()] * 50_000) + b'"]}',
    "too many texts": json.dumps({"texts": [SECRET] * 50_000}).encode(),
    "a text of a million characters": b'{"text":"' + SECRET.encode() * 45_000 + b'"}',
    "a million empty words": b'{"words":[[' + b'"",' * 1_000_000 + b'""]]}',
    "a body of 20 MB": b'{"text":"' + b"a" * (20 * MEGABYTE) + b'"}',
    "types of other fields": b'{"text":1,"texts":"a","heads":{},"truncate":"yes","long_text":[],"top_k":"1"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_an_error_of_the_client_that_repeats_nothing(name: str, client: TestClient) -> None:
    for path in json_routes(client):
        response = client.post(path, content=BODIES[name], headers=JSON)
        assert 400 <= response.status_code < 500, (path, response.text[:200])
        assert response.headers["content-type"] == "application/json"
        assert len(response.content) < SHORT, (path, len(response.content))
        assert SECRET not in response.text, path


ANSWERED: dict[str, bytes] = {
    "NUL": rb'{"text":"a\u0000b"}',
    "a name twice: the last one counts": b'{"text":1,"text":"chest pain"}',
    "no characters": b'{"text":""}',
    "no words": b'{"words":[[]]}',
    "a pair of surrogates": rb'{"text":"\ud83d\ude00 pain"}',
    "controls and marks": json.dumps({"text": "\u202e\u0301\ufeff\x01\x7f" * 30}).encode(),
    "one word of 50,000 characters": b'{"text":"' + b"a" * 50_000 + b'"}',
    "spaces": b'{"text":"' + b" " * 50_000 + b'"}',
}


@pytest.mark.parametrize("name", ANSWERED)
def test_an_odd_text_is_answered(name: str, client: TestClient) -> None:
    response = client.post("/predict", content=ANSWERED[name], headers=JSON)
    assert response.status_code == 200, response.text[:200]
    assert set(response.json()["predictions"][0]) == {"urgency", "topics", "hours", "parts"}


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "\xe9/;;"]
)
def test_the_content_type_does_not_matter(kind: str, client: TestClient) -> None:
    response = client.post("/predict", content=b'{"text":"a"}', headers={"content-type": kind.encode("latin-1")})
    assert response.status_code < 500


@pytest.mark.parametrize("length", ["-1", "abc", "\xb2", "99999999999999999999999", ""])
def test_a_wrong_content_length_is_no_fault_of_the_server(length: str, client: TestClient) -> None:
    headers = {"content-length": length.encode("latin-1")}
    assert client.post("/predict", content=b'{"text":"a"}', headers=headers).status_code < 500


def test_a_body_without_a_length_is_bounded_while_it_arrives(client: TestClient) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for _ in range(20):
            sent.append(1)
            yield b"[" * MEGABYTE

    response = client.post("/predict", content=endless(), headers=JSON)
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


def test_methods_and_paths_that_do_not_exist_have_errors_of_the_same_shape(client: TestClient) -> None:
    for method, path in [
        ("GET", "/predict"),
        ("DELETE", "/info"),
        ("POST", f"/{SECRET}"),
        ("GET", "/%ff%00"),
        ("PUT", "//"),
    ]:
        response = client.request(method, path)
        assert response.status_code in (404, 405)
        assert set(response.json()["detail"]) == {"error_type", "message"}
        assert SECRET not in response.text


def test_a_thousand_headers_are_no_fault_of_the_server(client: TestClient) -> None:
    headers = {f"x-{row}": "a" * 100 for row in range(1000)} | JSON
    assert client.post("/predict", content=b'{"text":"a"}', headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("key", "status"), [("schlüssel".encode(), 200), (b"schl\xfcssel", 401), (b"\xff", 401), (b"", 401)]
)
def test_a_key_is_compared_as_bytes(key: bytes, status: int, saved: Callable[[str], Path]) -> None:
    app = create_app(mh.HeadedModel.from_pretrained(saved("gpt2")), ServerSettings(api_key="schlüssel"))
    response = asyncio.run(Client(app).request("GET", "/info", b"", [(b"authorization", b"Bearer " + key)]))
    assert response.status == status


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def check_operations(app: Any, examples: int) -> None:
    """Let schemathesis make requests from the description of the server, and check that responses are as described."""
    tested = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of schemathesis' own dependencies
        for result in openapi.from_asgi("/openapi.json", app).get_all_operations():
            operation = result.ok()
            modes = list(GenerationMode) if operation.body else [GenerationMode.POSITIVE]
            for mode in modes:

                @tested
                @given(case=operation.as_strategy(generation_mode=mode))
                def conforms(case: Any) -> None:
                    case.validate_response(case.call(), checks=CHECKS)

                conforms()


def test_responses_are_as_described(app: Any) -> None:
    check_operations(app, examples=5)


@pytest.mark.real
def test_responses_to_many_requests_are_as_described(app: Any) -> None:
    check_operations(app, examples=200)
