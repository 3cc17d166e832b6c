"""Measures of multi-class heads."""

from __future__ import annotations

from typing import ClassVar

from manyheads.evaluation.kinds.one_label import OneLabelMeasures


class MulticlassMeasures(OneLabelMeasures):
    """Measures of one of several labels per row."""

    short: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "log_loss")
