"""The command line: the same words as in Python, thin callers of it. Nothing heavy is imported before it is used."""

from __future__ import annotations


def main() -> None:
    """Run the command line; a refusal is one line on standard error and exit status 1."""
    from manyheads.cli.app import run

    run()
