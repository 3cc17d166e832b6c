"""Progress is shown in a terminal by the first process, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from manyheads.runtime.progress import progress_bar, spinner


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


def test_nothing_is_shown_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ""
    monkeypatch.setenv("RANK", "1")
    assert shown(monkeypatch, Terminal()) == ""
