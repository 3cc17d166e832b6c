"""Questions whose id is the name of a head: what they may ask, what the head reads, and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from manyheads.core import HeadedCore
from manyheads.errors import listed
from manyheads.heads import Head, LabelledSpec
from manyheads.heads.kinds.multiclass import Multiclass
from manyheads.heads.kinds.multilabel import MultiLabel
from manyheads.heads.kinds.ordinal import Ordinal
from manyheads.server.engine import AnsweredText
from manyheads.server.http.errors import invalid
from manyheads.server.systemone.answers import choice_answer, noul_answer, score_answer
from manyheads.server.systemone.content import text_of
from manyheads.server.systemone.questions import Question, QuestionType
from manyheads.server.systemone.yes_no import yes_label
from manyheads.server.wire.answers import answer_of
from manyheads.types import Prediction

# One text, or a pair.
HeadText = str | tuple[str, str]


@dataclass(frozen=True)
class HeadQuestion:
    """A question for a head.

    Attributes:
        head: The head's name.
        type: The type of the question.
        label: The label whose probability is asked; ``None`` if all are.
    """

    head: str
    type: QuestionType
    label: object = None


def ids_of(core: HeadedCore) -> list[str]:
    """Return the ids that heads answer: names of heads, and ``head.label`` for heads with several labels per text."""
    return [found for name, head in core.heads.items() for found in _ids(name, head)]


def head_question(core: HeadedCore, name: str, question: Question) -> HeadQuestion | None:
    """Return the question of an id as a question for a head; ``None`` if no head has it.

    Raises:
        InvalidBodyError: the head answers another type of question, or has other labels than the criteria.
    """
    found = _head_of(core, name)
    if found is None:
        return None
    head_name, label = found
    fitting = _fitting(head_name, core.heads[head_name], label)
    if question.type not in fitting:
        raise invalid(["questions", name, "type"], _misfit(head_name, core.heads[head_name], label), "head_type")
    asked = fitting[question.type]
    _check_labels(name, question, core.heads[head_name])
    return asked


def text_for(head: Head, state: Any) -> HeadText:
    """Return what a head reads of a state.

    A string is the text. Of an object, the head reads the value of the column that it was trained on; of an array of
    two strings, a head of pairs reads the pair. Anything else is read as compact JSON.
    """
    columns = head.summary.get("text")
    if isinstance(columns, list):
        values = [state.get(column) for column in columns] if isinstance(state, dict) else state
        if isinstance(values, list) and len(values) == 2 and all(isinstance(value, str) for value in values):
            return values[0], values[1]
    elif isinstance(state, dict) and isinstance(state.get(columns), str):
        return cast(str, state[columns])
    return text_of(state)


def head_answer(question: HeadQuestion, head: Head, answered: AnsweredText, text: object) -> dict[str, Any]:
    """Return a head's answer as JSON, with what its decision adds as ``x_`` fields.

    Args:
        question: The question.
        head: The head.
        answered: Its prediction among those of the text.
        text: The text, for the words of spans.
    """
    prediction = answered.predictions[question.head]
    answer = _answer(question, head, prediction, text)
    known = {
        "x_flag": answered.flag,
        "x_abstained": prediction.abstained,
        "x_set": prediction.set,
        "x_cost": prediction.cost,
    }
    return answer | {name: value for name, value in known.items() if value is not None}


def _answer(question: HeadQuestion, head: Head, prediction: Prediction, text: object) -> dict[str, Any]:
    if question.type == "x_value":
        return {"type": "x_value", "x_value": prediction.value}
    if question.type == "x_entities":
        return {"type": "x_entities", "x_entities": answer_of(head.spec, prediction, text)["entities"]}
    if isinstance(head.spec, MultiLabel):
        return noul_answer(prediction.scores[question.label]) | {"x_label": question.label in prediction.labels}
    label = {"x_label": prediction.label}
    if question.type == "noul":
        return noul_answer(prediction.scores[question.label]) | label
    probabilities = list(prediction.scores.values())
    options = option_names(cast(LabelledSpec, head.spec).labels)
    if question.type == "score":
        return score_answer(options, probabilities) | label
    return choice_answer(dict(zip(options, probabilities, strict=True))) | label


def option_names(labels: Sequence[object]) -> list[str]:
    """Return labels as text; where a number and a string look alike, as Python writes them."""
    names = [str(label) for label in labels]
    return names if len(set(names)) == len(names) else [repr(label) for label in labels]


def _ids(name: str, head: Head) -> list[str]:
    if not isinstance(head.spec, MultiLabel):
        return [name]
    return [f"{name}.{label}" for label in option_names(head.spec.labels)]


def _head_of(core: HeadedCore, name: str) -> tuple[str, object] | None:
    """Return the head that an id names, and the label after its name; names of heads have no dots."""
    if name in core.heads:
        return name, None
    head_name, dot, label = name.partition(".")
    if not dot or head_name not in core.heads:
        return None
    spec = core.heads[head_name].spec
    names = dict(zip(option_names(spec.labels), spec.labels, strict=True)) if isinstance(spec, MultiLabel) else {}
    return (head_name, names[label]) if label in names else None


def _fitting(name: str, head: Head, label: object) -> Mapping[QuestionType, HeadQuestion]:
    """Return the types of question that a head answers, and the question of each."""
    spec = head.spec
    if spec.has_values:
        return {"x_value": HeadQuestion(name, "x_value")}
    if spec.has_spans:
        return {"x_entities": HeadQuestion(name, "x_entities")}
    if isinstance(spec, MultiLabel):
        return {} if label is None else {"noul": HeadQuestion(name, "noul", label)}
    fitting: dict[QuestionType, HeadQuestion] = {}
    if isinstance(spec, Ordinal):
        fitting["score"] = HeadQuestion(name, "score")
    elif isinstance(spec, Multiclass):
        fitting["choice"] = HeadQuestion(name, "choice")
    yes = yes_label(cast(LabelledSpec, spec).labels)
    return fitting if yes is None else fitting | {"noul": HeadQuestion(name, "noul", yes)}


def _misfit(name: str, head: Head, label: object) -> str:
    fitting = _fitting(name, head, label)
    if fitting:
        return f"head {name!r} answers questions of type {listed(list(fitting))}"
    return f"head {name!r} has several labels per text; ask for one, as a noul: {listed(_ids(name, head))}"


def _check_labels(name: str, question: Question, head: Head) -> None:
    """Check that the criteria of a choice or a score are the labels of its head."""
    criteria = question.criteria
    if criteria is None or question.type not in ("choice", "score"):
        return
    options = option_names(cast(LabelledSpec, head.spec).labels)
    same = criteria == options if isinstance(criteria, list) else set(criteria) == set(options)
    if not same:
        order = " in this order" if question.type == "score" else ""
        message = f"the head has the labels {listed(options)}{order}; give these, or leave criteria out"
        raise invalid(["questions", name, "criteria"], message, "head_labels")
