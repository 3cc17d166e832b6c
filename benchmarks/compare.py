"""Time alternatives side by side: same process, alternating order, medians, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """What one alternative took and gave.

    Attributes:
        seconds: Wall time of each repeat.
        result: What the last repeat returned.
        processor_seconds: Processor time of each repeat, all threads together; other work on the machine moves it less.
    """

    seconds: list[float]
    result: object
    processor_seconds: list[float]

    @property
    def median(self) -> float:
        """Median wall time in seconds."""
        return statistics.median(self.seconds)

    @property
    def processor_median(self) -> float:
        """Median processor time in seconds."""
        return statistics.median(self.processor_seconds)


def alternate(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Timed]:
    """Run every way ``repeats`` times, the order turned round each time."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, object] = {}
    for repeat in range(repeats):
        order = list(ways) if repeat % 2 == 0 else list(reversed(ways))
        for name in order:
            started, used = time.perf_counter(), time.process_time()
            results[name] = ways[name]()
            seconds[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - used)
    return {name: Timed(seconds[name], results[name], processor[name]) for name in ways}


def table(timed: Mapping[str, Timed], base: str, shown: Mapping[str, str]) -> str:
    """Return a Markdown table: median seconds, their ratio to ``base``, and what each way reached."""
    lines = ["| way | median s | of ours | reached |", "|---|---|---|---|"]
    for name, entry in timed.items():
        lines.append(f"| {name} | {entry.median:.1f} | {entry.median / timed[base].median:.1f}x | {shown[name]} |")
    return "\n".join(lines)
