"""Tiny models for the page of the server, and a real server in this process."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from granian.constants import Interfaces
from granian.server.embed import Server

import manyheads as mh
from manyheads.server import ServerSettings, create_app
from tests.browser import wait_for
from tests.families import TEXTS

TAGS = ["O", "B-BODY", "B-TIME"]
_BODY, _TIME = {"chest", "arm", "back", "knee", "head", "hand"}, {"hours", "days", "night", "weeks", "today"}


def _tags(text: str) -> list[str]:
    return ["B-BODY" if word in _BODY else "B-TIME" if word in _TIME else "O" for word in text.split()]


def notes() -> list[dict[str, object]]:
    """Return a table for every kind of head."""
    return [
        {
            "note": text,
            "urgency": ["routine", "urgent", "emergency"][row % 3],
            "pain": ["none", "mild", "strong"][row % 3],
            "symptoms": [["cough"], ["fever", "cough"], []][row % 3],
            "days": float(row % 5),
            "words": _tags(text),
        }
        for row, text in enumerate(TEXTS * 3)
    ]


def every_kind(folder: Path) -> mh.HeadedModel:
    """Return a model with a head of each kind, one of which abstains and gives sets."""
    model = mh.HeadedModel.from_pretrained(folder)
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"]))
    model.add_head("pain", mh.Ordinal(["none", "mild", "strong"]))
    model.add_head("symptoms", mh.MultiLabel(["fever", "cough", "pain"]))
    model.add_head("days", mh.Regression())
    model.add_head("words", mh.Tokens(TAGS))
    mh.train(model, notes(), text="note", method=mh.Frozen(l2=0.0001, cache=None, dtype="float32"), eval_fraction=0)
    model.heads["urgency"].decision = mh.Decision(
        abstain_below=0.999, max_error=0.05, set_threshold=0.9, set_coverage=0.9
    )
    model.heads["symptoms"].decision = mh.Decision(thresholds=[0.2, 0.5, 0.6])
    return model


@contextmanager
def served(model: mh.HeadedModel, settings: ServerSettings | None = None) -> Iterator[str]:
    """Serve a model with granian on a thread of this process, and yield its URL."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = Server(create_app(model, settings), port=port, interface=Interfaces.ASGI, log_enabled=False)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
    thread.start()
    try:
        wait_for(lambda: _is_live(f"http://127.0.0.1:{port}/"), "the server")
        yield f"http://127.0.0.1:{port}/"
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join()
        loop.close()


def _is_live(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}health/live"):
            return True
    except URLError:
        return False
