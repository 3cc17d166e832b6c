"""A report with every kind of head and hostile texts, for the tests of its page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import manyheads as mh

SCRIPT = "<script>alert('x')</script>"
QUOTES = "\"><img src=x onerror='alert(1)'> & 'more'"
TURNED = "\u202eturned\u2066 around"
HOSTILE = (
    SCRIPT,
    QUOTES,
    TURNED,
    "שלום עולם مرحبا",
    "w" * 900,
    "🩺🚑 naïve\x07 bell\x00",
    "{{ 7 * 7 }} ${x}",
)
READS = mh.Hidden(pool="mean")
HEADS: dict[str, Callable[[], mh.HeadSpec]] = {
    "hostile": lambda: mh.Multiclass([SCRIPT, QUOTES, TURNED, "אב" * 40, "m" * 300], reads=READS),
    "two": lambda: mh.Multiclass(["yes", "no"], reads="auto"),
    "level": lambda: mh.Ordinal(["low", "middle", "high"], reads=READS),
    "size": lambda: mh.Regression(reads=READS),
    "visits": lambda: mh.Count(reads=READS),
    "several": lambda: mh.MultiLabel(["pain", SCRIPT, "cough"], reads=READS),
    "tags": lambda: mh.Tokens(["symptom"], words="spaces", reads=mh.Hidden()),
}


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong."""

    row: int
    head: str
    text: Any
    given: Any
    suggested: Any
    score: float


SUSPECTS = [Suspect(row, "hostile", text, SCRIPT, QUOTES, row / 10) for row, text in enumerate(HOSTILE)]


def rows() -> list[dict[str, Any]]:
    """Return 96 rows, of which 8 texts and most labels are hostile."""
    found = []
    for number in range(96):
        text = HOSTILE[number // 12 % 7] if number % 12 == 0 else f"note {number % 9} of patient {number} with pain"
        labels = HEADS["hostile"]().labels  # type: ignore[attr-defined]
        words = text.split()
        found.append(
            {
                "note": text,
                "hostile": labels[number % 9 % 5],
                "two": ["yes", "no"][number % 3 % 2],
                "level": ["low", "middle", "high"][number % 9 // 3],
                "size": float(number % 9),
                "visits": number % 9,
                "several": [["pain"], [SCRIPT, "cough"], []][number % 3],
                "tags": ["B-symptom" if word == "pain" else "O" for word in words],
                SCRIPT: HOSTILE[number % 4],
            }
        )
    return found


def hostile_model(folder: Path) -> mh.HeadedModel:
    """Return a trained model with all heads; the folder holds its backbone."""
    model = mh.HeadedModel.from_pretrained(folder)
    for name, make in HEADS.items():
        model.add_head(name, make())
    mh.train(model, rows()[:60], "note", method=mh.Frozen(cache=None, dtype="float32"), eval_fraction=0)
    costs = [[0.0 if row == column else 1.0 + row for column in range(5)] for row in range(5)]
    model.heads["hostile"].decision = mh.Decision(
        temperature=1.5, abstain_below=0.3, set_threshold=0.7, set_coverage=0.9, costs=costs
    )
    return model


def hostile_report(model: mh.HeadedModel) -> mh.Report:
    """Return the report of the model on all rows."""
    return mh.evaluate(model, rows(), "note", by=[SCRIPT])
