"""Sentences on a choice of method, for the user."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.errors import listed
from manyheads.training.auto.candidate import Candidate


def sentences(candidates: Sequence[Candidate], rows: int, left_out: Sequence[str]) -> list[str]:
    """Return why a method was chosen, a line on each candidate, and one on heads that did not count.

    Args:
        candidates: All candidates, the simplest first, one of them chosen.
        rows: Number of comparison rows.
        left_out: Heads without a label on these rows.
    """
    lines = [f"Auto {'compared' if one.loss is not None else 'did not compare'} {one}." for one in candidates]
    if left_out:
        lines.append(f"Auto did not compare by {listed(left_out)}: no row that was set aside has a label of it.")
    return [why(candidates, rows), *lines]


def why(candidates: Sequence[Candidate], rows: int) -> str:
    """Return a sentence on why a method was chosen."""
    chosen = next(one for one in candidates if one.chosen)
    measured = [one for one in candidates if one.loss is not None]
    best = min(measured, key=lambda one: one.loss or 0.0)
    where = f"on {rows} training rows that no method trained on"
    if len(measured) == 1:
        return f"Auto chose {chosen.name}, the only method that was measured {where}."
    first = candidates[0]
    if chosen is best and chosen is first:
        return f"Auto chose {chosen.name}: no other method has a lower loss {where}."
    if chosen is best:
        return (
            f"Auto chose {chosen.name}: it has the least loss {where}, {_excess(first)} below that of "
            f"{first.name}, and no simpler method is as good."
        )
    if best.reason:
        return f"Auto chose {chosen.name}: {best.name} has the least loss {where}, but is {best.reason}."
    return (
        f"Auto chose {chosen.name}: {where}, it is the simplest method within one standard error of the best, "
        f"{best.name} (loss {chosen.loss:.4f} and {best.loss:.4f}, difference {_excess(chosen)})."
    )


def _excess(candidate: Candidate) -> str:
    """Return how much larger a method's loss is than that of the best one, and the standard error of that."""
    return f"{candidate.excess:.4f} ± {candidate.excess_error:.4f}"
