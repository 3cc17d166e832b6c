"""Answers to typed questions as JSON, and the formulas of their confidence.

Shapes and formulas are those of the System One specification 0.1 (``SPEC.md`` of mandu5/jevcompat), sections 4.2 to
4.5. With probabilities ``p`` of ``n`` options, the confidence of a choice is ``(max p - 1/n) / (1 - 1/n)``: 0 for equal
probabilities, 1 for a certain answer. That of a score is ``1 - spread / uniform``, at least 0: ``spread`` is the
expected distance from the most probable level, ``sum of p_i |i - mode|``, and ``uniform`` is the mean distance of the
levels from their center, ``sum of |i - (n - 1) / 2| / n``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def noul_answer(probability: float) -> dict[str, Any]:
    """Return the answer to a yes-or-no question: the probability of yes."""
    return {"type": "noul", "noul": probability}


def choice_answer(probabilities: Mapping[str, float]) -> dict[str, Any]:
    """Return the answer to a choice: the most probable option, the first of equal ones.

    Args:
        probabilities: Option -> probability.
    """
    return {
        "type": "choice",
        "choice": max(probabilities, key=lambda option: probabilities[option]),
        "probabilities": dict(probabilities),
        "confidence": choice_confidence(list(probabilities.values())),
    }


def score_answer(levels: Sequence[object], probabilities: Sequence[float]) -> dict[str, Any]:
    """Return the answer to a score: the expected level, counted from 0.

    Args:
        levels: What each level means.
        probabilities: The probability of each.
    """
    return {
        "type": "score",
        "score": sum(level * probability for level, probability in enumerate(probabilities)),
        "legend": {str(level): meaning for level, meaning in enumerate(levels)},
        "probabilities": {str(level): probability for level, probability in enumerate(probabilities)},
        "confidence": score_confidence(probabilities),
    }


def choice_confidence(probabilities: Sequence[float]) -> float:
    """Return the confidence of a choice, from 0 to 1."""
    even = 1 / len(probabilities)
    return _share((max(probabilities) - even) / (1 - even))


def score_confidence(probabilities: Sequence[float]) -> float:
    """Return the confidence of a score, from 0 to 1."""
    count = len(probabilities)
    mode = max(range(count), key=lambda level: probabilities[level])
    spread = sum(probability * abs(level - mode) for level, probability in enumerate(probabilities))
    uniform = sum(abs(level - (count - 1) / 2) for level in range(count)) / count
    return _share(1 - spread / uniform)


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
