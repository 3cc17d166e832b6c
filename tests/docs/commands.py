"""Run the ``manyheads`` commands of a shell snippet in this process."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from pathlib import Path

import pytest

from tests.unit.cli.test_app import called

# Commands that snippets may show and tests do not run.
NOT_RUN = ("make", "pip", "git", "cd", "torchrun", "accelerate")


def run_shell(code: str) -> None:
    """Run each line's ``manyheads`` command; ``cat FILE |``, ``> FILE`` and ``\\`` at a line's end work as in a shell.

    Raises:
        AssertionError: a command fails, or is none that snippets may show.
    """
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] not in NOT_RUN:
            run_command(words)


def run_command(words: list[str]) -> None:
    """Run one line, given as words."""
    piped, command = (words[1], words[3:]) if words[0] == "cat" else (None, words)
    assert command[0] == "manyheads", f"no test knows how to run {command[0]!r}"
    target = None
    if ">" in command:
        target, command = command[command.index(">") + 1], command[: command.index(">")]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as written:
        if piped is not None:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(piped).read_bytes())))
        status = called(*command[1:])
    assert status == 0, f"{shlex.join(command)} ended with status {status}"
    if target is not None:
        Path(target).write_text(written.getvalue(), "utf-8")
