"""The answer of ``GET /info``."""

from __future__ import annotations

from typing import Any

from manyheads._version import VERSION
from manyheads.backbone.limits import token_limit
from manyheads.heads import Head
from manyheads.server.served import Served


def info_of(served: Served, waiting: int) -> dict[str, Any]:
    """Return what a model is and has.

    Args:
        served: The model.
        waiting: Number of requests that wait.
    """
    backbone = served.core.backbone
    return {
        "manyheads": VERSION,
        "model": backbone.name,
        "fingerprint": served.fingerprint,
        "since": served.since,
        "language_model": backbone.generates,
        "max_tokens": token_limit(backbone.model, served.tokenizer),
        "waiting": waiting,
        "heads": {name: _head(head) for name, head in served.core.heads.items()},
    }


def _head(head: Head) -> dict[str, Any]:
    spec = head.spec
    return {
        "kind": spec.kind,
        "labels": list(getattr(spec, "labels", ())),
        "reads": [str(tap) for tap in head.taps],
        "text": head.summary.get("text"),
        "decision": {name: getattr(head.decision, name) for name in head.decision.settings},
    }
