"""The real server, in processes of its own, and plain clients for it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MOST_SECONDS = 150.0


@dataclass
class RunningServer:
    """A server that answers.

    Attributes:
        process: Its process, or the one above its workers.
        lines: What it wrote on standard error until now, one object for each line.
        serving: The line that it began with.
    """

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def serving(self) -> dict[str, Any]:
        return next(line for line in self.lines if line["message"] == "serving")

    @property
    def port(self) -> int:
        port = urlsplit(self.serving["url"]).port
        assert port is not None
        return port

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Send a request over a connection of its own; return status, headers, and the body, parsed if it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=MOST_SECONDS)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, headers or {})
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers.get("content-type", "").startswith("application/json")
            return response.status, dict(response.headers), json.loads(text) if is_json else text
        finally:
            connection.close()


@contextmanager
def running_server(
    folder: Path, *options: str, settings: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """Serve a saved model on a free port, and yield the server once it answers.

    Args:
        folder: The saved model.
        options: Options of ``manyheads serve``.
        settings: Instead of options, arguments of ``ServerSettings`` as code.
        environment: Variables of its environment.
    """
    command = [sys.executable, "-m", "manyheads", "serve", str(folder), "--port", "0", *options]
    if settings:
        code = "from manyheads.server import ServerSettings, serve\n"
        code += f"serve({str(folder)!r}, port=0, settings=ServerSettings({settings}))"
        command = [sys.executable, "-c", code]
    own = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=own)
    server = RunningServer(process)
    reader = threading.Thread(target=_read, args=(server,))
    reader.start()
    try:
        wait_until(lambda: process.poll() is not None or any(line["message"] == "serving" for line in server.lines))
        assert process.poll() is None, server.lines
        yield server
    finally:
        process.kill()  # its workers end with it
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def wait_until(happened: Callable[[], object]) -> None:
    """Wait until something has happened; fail if it does not."""
    end = time.monotonic() + MOST_SECONDS
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def exists(process: int) -> bool:
    """Return whether a process runs."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children_of(process: int) -> set[int]:
    """Return the ids of all processes that a process has started and that still run, and those that they have."""
    own = {int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()}
    return own.union(*(children_of(child) for child in own))


def _read(server: RunningServer) -> None:
    assert server.process.stderr is not None
    for line in server.process.stderr:
        server.lines.append(json.loads(line) if line.startswith("{") else {"message": line})
