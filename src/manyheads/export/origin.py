"""What an exported config keeps of a head: its name, its kind, and the parts of its decision."""

from __future__ import annotations

from typing import Any

from manyheads.export.linear import ExportedHead
from manyheads.heads import LabelledSpec, Tokens


def output_names(head: ExportedHead) -> list[str]:
    """Return the names of a head's outputs, as text: its labels, or its own name for a number."""
    spec = head.head.spec
    if isinstance(spec, Tokens):
        return [str(name) for name in spec.classes]
    if isinstance(spec, LabelledSpec) and len(spec.labels) == spec.outputs:
        return [str(label) for label in spec.labels]
    return [head.name] if spec.outputs == 1 else [f"{head.name} {place}" for place in range(1, spec.outputs + 1)]


def thresholds_of(head: ExportedHead) -> dict[str, float] | None:
    """Return the threshold of each label, if the decision has any; no other library applies them."""
    thresholds = head.head.decision.thresholds
    return None if thresholds is None else dict(zip(output_names(head), thresholds, strict=True))


def origin(head: ExportedHead) -> dict[str, Any]:
    """Return the entry ``manyheads`` of an exported ``config.json``."""
    return {
        "head": head.name,
        "kind": head.head.spec.kind,
        "temperature": head.temperature,
        "thresholds": thresholds_of(head),
    }
