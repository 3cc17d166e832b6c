"""What the sections of one head are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manyheads.evaluation.report.made import MadeHead
from manyheads.evaluation.report.report import HeadReport
from manyheads.evaluation.report.suspect_label import SuspectLabel


@dataclass(frozen=True, eq=False)
class Subject:
    """A head.

    Attributes:
        head: Its report.
        made: How it was made; ``None`` if unknown.
        suspects: Its labels that are probably wrong, if they were looked for.
    """

    head: HeadReport
    made: MadeHead | None
    suspects: Sequence[SuspectLabel]

    @property
    def main(self) -> float:
        """Its main metric."""
        return self.head.metrics[self.head.main_metric]
