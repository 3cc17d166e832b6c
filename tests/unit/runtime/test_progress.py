"""Progress is shown in a terminal by the first process, and nowhere else."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

import manyheads as mh
from manyheads.runtime import progress
from manyheads.runtime.progress import progress_bar, spinner
from tests.laws.oracle import RECORDS


class Terminal(io.StringIO):
    """A standard error that a person looks at."""

    def isatty(self) -> bool:
        """True."""
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", stream)
    with spinner("Hashing weights"), progress_bar("Reading", 2_000, "texts") as advance:
        advance(500)
        advance(1_500)
    return stream.getvalue()


def test_a_terminal_shows_nested_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(monkeypatch, Terminal())
    assert "Hashing weights" in text
    assert "Reading" in text
    assert "texts" in text
    assert capsys.readouterr().out == ""


def test_every_long_wait_of_a_training_is_shown(
    monkeypatch: pytest.MonkeyPatch, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    waits = []

    class Display:
        def add_task(self, description: str, **_: object) -> int:
            waits.append(description)
            return 0

        def update(self, *_: object, **__: object) -> None: ...

        def remove_task(self, _: int) -> None: ...

    monkeypatch.setattr(progress, "_display", lambda: nullcontext(Display()))
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent", "emergency"]))
    mh.train(model, RECORDS, text="text", out=tmp_path / "model")
    assert list(dict.fromkeys(waits)) == [
        "Loading the backbone",
        "Reading the table",
        "Tokenizing",
        "Hashing weights",
        "Searching layers and poolings",
        "Reading texts",
        "Fitting heads",
        "Saving the model",
    ]


def test_nothing_is_shown_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ""
    monkeypatch.setenv("RANK", "1")
    assert shown(monkeypatch, Terminal()) == ""
