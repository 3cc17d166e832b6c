"""How a head decides, in sentences."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from manyheads.checkpoint.card.markdown import table
from manyheads.heads import Decision

# The cost matrix of a head with more labels is only mentioned.
_MOST_LABELS = 8
_SETS = {"lac": "least ambiguous sets, LAC", "aps": "adaptive sets, APS"}


def sentences(decision: Decision, labels: list[str]) -> list[str]:
    """Return what differs from the neutral decision, as Markdown; thresholds by label are left to the table of labels.

    Args:
        decision: The head's decision.
        labels: Its labels as Markdown.
    """
    given = {item.name: getattr(decision, item.name) for item in fields(decision)}
    set_by_default = {item.name: item.default for item in fields(decision)}
    changed = {name: value for name, value in given.items() if value != set_by_default[name]}
    return [
        *_temperature(changed),
        *_thresholds(changed),
        *_abstention(changed, given),
        *_sets(changed, given),
        *_costs(changed, labels),
    ] or ["Scores are used as they are, without temperature, thresholds, abstention, prediction sets or costs."]


def _temperature(changed: dict[str, Any]) -> list[str]:
    if "temperature" not in changed:
        return []
    return [f"Scores are calibrated: logits are divided by the temperature {changed['temperature']:.4g}."]


def _thresholds(changed: dict[str, Any]) -> list[str]:
    if "thresholds" not in changed:
        return []
    return ["A label is predicted if its score reaches the threshold in the table."]


def _abstention(changed: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if "abstain_below" not in changed:
        return []
    return [
        f"A prediction is marked as abstained if its {given['abstain_by']} is below {changed['abstain_below']:.4g}."
    ]


def _sets(changed: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if "set_threshold" not in changed:
        return []
    method = _SETS.get(given["set_by"], given["set_by"])
    coverage = given["set_coverage"]
    promise = (
        f" They contain the right label of at least {coverage:.4g} of the texts on average, if these are like the "
        "texts that the threshold was fitted on."
    )
    threshold = f"Prediction sets ({method}) have the threshold {changed['set_threshold']:.4g}."
    return [threshold if coverage is None else threshold + promise]


def _costs(changed: dict[str, Any], labels: list[str]) -> list[str]:
    if "costs" not in changed:
        return []
    sentence = "The label with the least expected cost is predicted."
    if len(labels) > _MOST_LABELS:
        return [f"{sentence} The costs are in `heads.json`."]
    rows = [[label, *(f"{cost:g}" for cost in row)] for label, row in zip(labels, changed["costs"], strict=True)]
    return [f"{sentence} Costs, with a row per right label and a column per predicted one:", table(["", *labels], rows)]
