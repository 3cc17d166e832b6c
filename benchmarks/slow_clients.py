"""Slow clients against `manyheads serve`: when are they cut off, and what becomes of a normal client meanwhile?

Starts the server with its default limits, opens connections that send a header a byte at a time and others that send a
body so, and meanwhile sends a normal request after the other.

    python -m benchmarks.slow_clients --headers 200 --bodies 200
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import torch

import manyheads as mh
from tests.families import BY_NAME, save_family
from tests.server_tools import RunningServer, running_server

_PAUSE = 0.5


async def slow(port: int, head: bytes, started: float) -> float:
    """Send a head at once, then a byte at a time; return the seconds until the server closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    dripping = asyncio.ensure_future(drip(writer))
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        writer.close()
    return time.monotonic() - started


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte from time to time."""
    while True:
        await asyncio.sleep(_PAUSE)
        writer.write(b"a")


def ask(server: RunningServer) -> tuple[int, float]:
    """Send a normal request; return its status and milliseconds."""
    started = time.perf_counter()
    status, _, _ = server.request("POST", "/predict", {"text": "fever"})
    return status, 1000 * (time.perf_counter() - started)


async def normal(server: RunningServer, ended: asyncio.Event) -> list[tuple[int, float]]:
    """Send requests one after the other until an event."""
    answers = []
    while not ended.is_set():
        answers.append(await asyncio.to_thread(ask, server))
        await asyncio.sleep(_PAUSE)
    return answers


async def measure(server: RunningServer, headers: int, bodies: int) -> None:
    """Run all clients and print what became of them."""
    ended = asyncio.Event()
    asking = asyncio.ensure_future(normal(server, ended))
    started = time.monotonic()
    head = b"POST /predict HTTP/1.1\r\nhost: a\r\nx-slow: "
    body = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n{"
    closed = await asyncio.gather(
        *(slow(server.port, head, started) for _ in range(headers)),
        *(slow(server.port, body, started) for _ in range(bodies)),
    )
    ended.set()
    answers = await asking
    milliseconds = [taken for _, taken in answers]
    print(f"slow headers: {headers} closed after {max(closed[:headers], default=0):.1f} s at most")
    print(f"slow bodies: {bodies} closed after {max(closed[headers:], default=0):.1f} s at most")
    print(
        f"normal requests meanwhile: {len(answers)}, all answered: {all(status == 200 for status, _ in answers)}, "
        f"median {statistics.median(milliseconds):.0f} ms, longest {max(milliseconds):.0f} ms"
    )


def main() -> None:
    """Serve a tiny model, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headers", type=int, default=200)
    parser.add_argument("--bodies", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model = mh.HeadedModel.from_pretrained(save_family(BY_NAME["bert"], Path(temporary, "bert")))
        torch.manual_seed(0)
        model.add_head("urgency", mh.Multiclass(labels=["low", "high"])).trained = True
        model.save_pretrained(Path(temporary, "model"))
        with running_server(Path(temporary, "model")) as server:
            asyncio.run(measure(server, given.headers, given.bodies))


if __name__ == "__main__":
    main()
