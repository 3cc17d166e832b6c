"""Hostile bytes on real connections to the real server: it answers or closes, and goes on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import manyheads as mh
from tests.server_tools import RunningServer, running_server

MEGABYTE = 1 << 20
SECRET = b"sphinx of black quartz"


@pytest.fixture(scope="module")
def server(saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served") / "model"
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"])).trained = True
    model.save_pretrained(folder)
    with running_server(folder, settings="body_seconds=2.0, header_seconds=2.0") as running:
        yield running


def answer_to(server: RunningServer, *parts: bytes) -> bytes:
    """Send bytes, and return what comes until the server closes or a response is whole."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:  # closed early, which is an answer too
            pass
        received = b""
        try:
            while chunk := connection.recv(1 << 16):
                received += chunk
                if b"\r\n\r\n" in received:
                    break
        except ConnectionError:
            pass
        return received


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST /predict HTTP/1.1", b"host: a", b"content-type: application/json", *lines, b"", b""])


REQUESTS: dict[str, tuple[bytes, ...]] = {
    "20 MB with a length": (head(b"content-length: %d" % (20 * MEGABYTE)), b"a" * (20 * MEGABYTE)),
    "20 MB in chunks": (
        head(b"transfer-encoding: chunked"),
        *[b"%x\r\n" % MEGABYTE + b"a" * MEGABYTE + b"\r\n"] * 20,
        b"0\r\n\r\n",
    ),
    "a length that is no number": (head(b"content-length: \xb2"), b"{}"),
    "two lengths": (head(b"content-length: 2", b"content-length: 3"), b"{}x"),
    "a length and chunks": (head(b"content-length: 2", b"transfer-encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n"),
    "a chunk whose size is no number": (head(b"transfer-encoding: chunked"), b"zz\r\n" + SECRET + b"\r\n"),
    "a body that does not come": (head(b"content-length: 100"),),
    "10,000 headers": (head(*[b"x-%d: " % row + SECRET for row in range(10_000)], b"content-length: 2"), b"{}"),
    "a header of a megabyte": (head(b"x: " + SECRET * 50_000, b"content-length: 2"), b"{}"),
    "a header with a line of its own": (head(b"x: a\rb", b"content-length: 2"), b"{}"),
    "no HTTP": (SECRET + b"\r\n\r\n",),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),),
    "a path of a megabyte": (b"GET /" + b"a" * MEGABYTE + b" HTTP/1.1\r\nhost: a\r\n\r\n",),
    "a path outside": (b"GET /../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",),
    "HTTP/9": (b"GET /info HTTP/9.9\r\nhost: a\r\n\r\n",),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_hostile_bytes_are_an_error_of_the_client_or_the_end_of_the_connection(
    name: str, server: RunningServer
) -> None:
    received = answer_to(server, *REQUESTS[name])
    status = received[9:12]
    assert not received or (received.startswith(b"HTTP/1.") and b"400" <= status < b"500"), received[:300]
    assert SECRET not in received
    assert server.request("POST", "/predict", {"text": "chest pain"})[0] == 200
