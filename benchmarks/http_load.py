"""Clients of a server in a process of their own, cheap enough to share its cores: prebuilt requests on open sockets.

Run by ``benchmarks.serve``; prints its findings as JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Connection:
    """A client that sends a request, waits for the response, and sends the next.

    Attributes:
        socket: Its connection.
        request: The number of the request that it waits for.
        sent: When it was sent.
        received: What has arrived of the response.
    """

    socket: socket.socket
    request: int = 0
    sent: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def send(self, number: int, request: bytes) -> None:
        """Send a request."""
        self.request, self.sent = number, time.perf_counter()
        self.received.clear()
        self.socket.sendall(request)

    def read(self) -> bool:
        """Read what has arrived, and return whether it is the whole response."""
        self.received += self.socket.recv(1 << 16)
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        start = self.received.index(b"content-length: ") + 16
        return len(self.received) == end + 4 + int(self.received[start : self.received.index(b"\r", start)])

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(self.received[9:12])

    @property
    def body(self) -> str:
        """The body of the response."""
        return self.received.partition(b"\r\n\r\n")[2].decode()


def request_of(text: str | list[str]) -> bytes:
    """Return the bytes that ask to predict one text, or several."""
    body = json.dumps({"text": text} if isinstance(text, str) else {"texts": text}).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connected(port: int, count: int) -> list[Connection]:
    """Return clients with open connections."""
    found = []
    for _ in range(count):
        opened = socket.create_connection(("127.0.0.1", port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.append(Connection(opened))
    return found


def run(port: int, clients: int, texts: list[str | list[str]], requests: int, keep: bool) -> dict[str, object]:
    """Let clients send requests until so many are answered.

    Args:
        port: The server's.
        clients: Number of clients.
        texts: Each request has the next one, or the next list of them.
        requests: Number of requests.
        keep: Whether to return the bodies of the responses.
    """
    prepared, waiting = [request_of(text) for text in texts], connected(port, clients)
    selector = selectors.DefaultSelector()
    for client in waiting:
        selector.register(client.socket, selectors.EVENT_READ, client)
    started, used = time.perf_counter(), time.process_time()
    for number, client in enumerate(waiting[:requests]):
        client.send(number, prepared[number % len(prepared)])
    sent, times, bodies = min(clients, requests), [0.0] * requests, [""] * (requests if keep else 0)
    statuses, answered = [0] * requests, 0
    while answered < requests:
        for key, _ in selector.select():
            client = key.data
            if not client.read():
                continue
            times[client.request] = time.perf_counter() - client.sent
            statuses[client.request] = client.status
            if keep:
                bodies[client.request] = client.body
            answered += 1
            if sent < requests:
                client.send(sent, prepared[sent % len(prepared)])
                sent += 1
    seconds = time.perf_counter() - started
    found = {"seconds": seconds, "processor_seconds": time.process_time() - used, "times": times, "statuses": statuses}
    return {**found, "bodies": bodies, "counts": Counter(statuses)}


def main(port: str, clients: str, texts: str, requests: str, keep: str) -> None:
    """Run, and print what was found."""
    found = run(int(port), int(clients), json.loads(Path(texts).read_text()), int(requests), keep == "keep")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
