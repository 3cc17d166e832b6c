"""Predictions as JSON. Their parts have the shapes of Hugging Face pipelines.

``{"label", "score"}`` is that of ``text-classification``, ``{"entity_group", "score", "word", "start", "end"}`` that of
``token-classification`` with an aggregation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manyheads.heads import HeadSpec
from manyheads.types import Prediction


def answer_of(spec: HeadSpec, prediction: Prediction, text: object, top_k: int | None = None) -> dict[str, Any]:
    """Return one head's answer for one text.

    Args:
        spec: The head's settings.
        prediction: What it predicts.
        text: The text, for the words of spans.
        top_k: Number of labels with their scores, most probable first; ``None`` for none beside the answer.

    Returns:
        ``label`` and ``score``; or ``labels``, each with its score; or ``entities``; or ``value``. Beside it
        ``abstained``, ``set`` and ``cost`` where the head's decision gives them, and ``scores`` with ``top_k``.
    """
    if spec.has_spans:
        return {"entities": [_entity(span, text) for span in prediction.spans]}
    if spec.has_values:
        return {"value": prediction.value}
    answer: dict[str, Any] = {}
    if prediction.label is None:
        answer["labels"] = [_scored(prediction, label) for label in prediction.labels]
    else:
        answer |= {"label": prediction.label, "score": prediction.score}
    for name in ("abstained", "set", "cost"):
        if getattr(prediction, name) is not None:
            answer[name] = getattr(prediction, name)
    if top_k is not None:
        answer["scores"] = [_scored(prediction, label) for label in _most_probable(prediction.scores)[:top_k]]
    return answer


def _most_probable(scores: Mapping[object, float]) -> list[object]:
    return sorted(scores, key=lambda label: -scores[label])


def _scored(prediction: Prediction, label: object) -> dict[str, Any]:
    return {"label": label, "score": prediction.scores[label]}


def _entity(span: Any, text: object) -> dict[str, Any]:
    word = text[span.start : span.end] if isinstance(text, str) else None
    return {"entity_group": span.label, "score": span.score, "word": word, "start": span.start, "end": span.end}
