"""How an evaluated model was made, from the records that are saved with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manyheads.core import HeadedCore
from manyheads.heads import Head
from manyheads.taps import write_tap


@dataclass(frozen=True, eq=False)
class MadeHead:
    """How a head was made.

    Attributes:
        reads: Its taps, as plain JSON.
        summary: The record of its last training; empty if manyheads did not train it.
    """

    reads: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Made:
    """How a model was made.

    Attributes:
        backbone: The backbone's class.
        has_lm: Whether it is a language model.
        heads: Head name -> how it was made.
    """

    backbone: str
    has_lm: bool
    heads: Mapping[str, MadeHead]


def made_record(core: HeadedCore, heads: Mapping[str, Head]) -> Made:
    """Return how a model and some of its heads were made."""
    records = {name: MadeHead([write_tap(tap) for tap in head.taps], head.summary) for name, head in heads.items()}
    return Made(core.backbone.name, core.backbone.lm is not None, records)
