"""Sentences on a head's probabilities and decision, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.evaluation.report.report import HeadReport
from manyheads.evaluation.risk_coverage import RISK


def calibration_sentence(head: HeadReport) -> Iterator[str]:
    """Yield a sentence on whether the probabilities mean what they say, if there are any."""
    found = head.calibration
    if found is None:
        return
    judged = "no more than noise"
    if not found.within_noise:
        judged = f"more than noise, {'overconfident' if found.stated > found.true else 'too modest'} on the whole"
    yield (
        f"Calibration error {found.error:.3f} (mean |share that came true - mean probability| over "
        f"{len(found.bins)} bins of equally many {found.unit}); a perfectly calibrated head would show "
        f"{found.floor:.3f} on these rows, and at most {found.floor_high:.3f} in 95% of draws: {judged}. Mean "
        f"probability {found.stated:.3f}, came true {found.true:.3f}."
    )


def decision_sentences(head: HeadReport) -> Iterator[str]:
    """Yield sentences on abstention and costs."""
    if head.risk_coverage is not None:
        yield (
            f"If it answers only the rows it is surest of, it can answer {head.risk_coverage.coverage_at_risk:.1%} of "
            f"the rows with at most {RISK:.0%} errors."
        )
    if head.answered is not None:
        value = head.answered.metrics.get(head.main_metric)
        main = "" if value is None else f", with {head.main_metric.replace('_', ' ')} {value:.3f}"
        yield f"With its decision it answers {head.answered.share:.1%} of the rows{main}, and abstains from the rest."
    if head.sets is not None:
        sets, ends = head.sets, head.sets.interval
        between = "" if ends is None else f", 95% interval {ends.low:.1%} to {ends.high:.1%}"
        promised = "" if sets.promised is None else f" ({sets.promised:.0%} promised{between})"
        yield (
            f"Its prediction sets contain the right label in {sets.covered:.1%} of the rows{promised}; they have "
            f"{sets.size:.2f} labels on average."
        )
    if head.costs is not None:
        costs = head.costs
        ends = costs.saving_interval
        saved = "" if ends is None else f" (95% interval of the saving {ends.low:+.3f} to {ends.high:+.3f})"
        answered = "" if costs.answered is None else f"; {costs.answered:.3f} on the rows that it answers"
        compared = f"{abs(costs.saving):.3f} {'less' if costs.saving >= 0 else 'more'}"
        yield (
            f"Mean cost of its answers {costs.decided:.3f}, {compared} than always giving the most probable label"
            f"{saved}{answered}."
        )
