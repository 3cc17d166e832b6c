"""How a head decides, in sentences."""

from __future__ import annotations

from collections.abc import Callable

from manyheads.checkpoint.card.markdown import code, table
from manyheads.heads import Decision

# The cost matrix of a head with more labels is only mentioned.
_MOST_LABELS = 8
_SETS = {"lac": "LAC, Sadinle et al. 2019", "aps": "APS, Romano et al. 2020"}


def sentences(decision: Decision, labels: list[str]) -> list[str]:
    """Return the settings that differ from the neutral decision, as Markdown; thresholds are in the table of labels.

    Args:
        decision: The head's decision.
        labels: Its labels as Markdown.
    """
    if not decision.settings:
        return ["Scores are used as they are, without temperature, thresholds, abstention, prediction sets or costs."]
    return [describe(decision, labels) for setting, describe in _SENTENCES.items() if setting in decision.settings]


def _temperature(decision: Decision, labels: list[str]) -> str:
    return (
        f"Scores are those of the logits divided by the temperature {decision.temperature:.4g}, which calibrates them."
    )


def _thresholds(decision: Decision, labels: list[str]) -> str:
    return "A label is predicted if its score reaches the threshold in the table."


def _abstention(decision: Decision, labels: list[str]) -> str:
    score = f"abstention score ({code(decision.abstain_by)})"
    sentence = f"A prediction is marked as abstained if its {score} is below {decision.abstain_below:.4g}."
    if decision.max_error is None:
        return sentence
    held = "on average" if decision.confidence is None else f"with a confidence of {decision.confidence:.4g}"
    return (
        f"{sentence} At most {decision.max_error:.4g} of the answers are wrong, {held}, if the texts are like those "
        "that the threshold was fitted on."
    )


def _sets(decision: Decision, labels: list[str]) -> str:
    method = _SETS.get(decision.set_by, decision.set_by)
    sentence = f"Prediction sets ({method}) have the threshold {decision.set_threshold:.4g}."
    if decision.set_coverage is None:
        return sentence
    return (
        f"{sentence} They contain the right label of at least {decision.set_coverage:.4g} of the texts on average, if "
        "these are like the texts that the threshold was fitted on."
    )


def _costs(decision: Decision, labels: list[str]) -> str:
    sentence = "The label with the least expected cost is predicted."
    costs = decision.costs or ()
    if len(labels) > _MOST_LABELS:
        return f"{sentence} The costs are in `heads.json`."
    rows = [[label, *(f"{cost:g}" for cost in row)] for label, row in zip(labels, costs, strict=False)]
    matrix = table(["right label", *labels], rows)
    return f"{sentence} The costs, with a column per predicted label:\n\n{matrix}"


# By the setting that turns each on.
_SENTENCES: dict[str, Callable[[Decision, list[str]], str]] = {
    "temperature": _temperature,
    "thresholds": _thresholds,
    "abstain_below": _abstention,
    "set_threshold": _sets,
    "costs": _costs,
}
