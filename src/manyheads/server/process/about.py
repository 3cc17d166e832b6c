"""The line that shows that a server answers."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

from manyheads.errors import listed

_LOG = logging.getLogger("manyheads.server")


@dataclass(frozen=True)
class About:
    """What a process serves.

    Attributes:
        heads: Names of the heads.
        language_model: Whether there is a language model.
        fingerprint: The model's fingerprint.
    """

    heads: tuple[str, ...]
    language_model: bool
    fingerprint: str


def announce(about: About, url: str, workers: int) -> None:
    """Write one line on standard error: plain in a terminal, JSON like the log elsewhere."""
    if sys.stderr.isatty():
        heads = f"the heads {listed(about.heads)}" if about.heads else "no heads"
        model = "a language model" if about.language_model else "no language model"
        print(f"manyheads: serving {heads} and {model} at {url}", file=sys.stderr)
        return
    fields = {
        "url": url,
        "heads": list(about.heads),
        "language_model": about.language_model,
        "fingerprint": about.fingerprint,
        "workers": workers,
    }
    _LOG.info("serving", extra={"fields": fields})
