"""A graph has the inputs and outputs that its layout describes."""

from __future__ import annotations

from manyheads.errors import CorruptCheckpointError, listed
from manyheads.onnx.bags import Bags
from manyheads.onnx.layout import PREDICTOR_JSON, Layout
from manyheads.onnx.session import Session


def check_graph(session: Session, layout: Layout, bags: Bags) -> None:
    """Check a graph against its layout and the bags of terms that heads read.

    Raises:
        CorruptCheckpointError: an input that cannot be given, or no output with the logits of a head.
    """
    known = {"token_type_ids", "word_ids", "word_numbers", *bags.names}
    for number in range(len(layout.prompts) + 1):
        suffix = f"_{number}" if number else ""
        known |= {f"input_ids{suffix}", f"attention_mask{suffix}"}
    if session.inputs - known:
        raise CorruptCheckpointError(
            f"{session.path}: needs the inputs {listed(sorted(session.inputs - known))}, which {PREDICTOR_JSON} does "
            "not describe; export the model again"
        )
    for name, head in layout.heads.items():
        shape = session.outputs.get(head.output, [])
        if not shape or shape[-1] != head.spec.outputs:
            raise CorruptCheckpointError(
                f"{session.path}: head {name!r}: has no output {head.output!r} of {head.spec.outputs} logits, but "
                f"{dict(session.outputs)}; export the model again"
            )
