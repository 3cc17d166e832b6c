"""What changes when a head runs in a graph, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.export.onnx.parity import TOLERANCE, Parity
from manyheads.heads import Head


def notes_on(head: Head, parity: Parity) -> Iterator[str]:
    """Yield the notes on a head."""
    if parity.drift > TOLERANCE * max(1.0, parity.scale):
        yield (
            "The graph computes in fp32, and the model itself answers in another precision: on the compared texts, its "
            f"logits differ by up to {parity.drift:.2g}, where the largest one is {parity.scale:.2g}."
        )
    if head.spec.by_word and head.spec.word_rule is not None:
        yield "Splitting raw texts into words needs the package regex; lists of words do not."
