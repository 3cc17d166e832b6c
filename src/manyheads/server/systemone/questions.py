"""The body of ``POST /v1/systemone``, and the checks that need no model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.server.http.errors import invalid
from manyheads.server.settings import ServerSettings
from manyheads.server.systemone.content import Content, text_of
from manyheads.server.wire.several import Named, Several

QuestionType = Literal["noul", "choice", "score", "x_value", "x_entities"]

MOST_OPTIONS = 255
MOST_LEVELS = 10


class Question(BaseModel):
    """A question with a closed answer."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: QuestionType = Field(
        description="'noul' for yes or no, 'choice' for one of several options, 'score' for one of several levels; "
        "'x_value' and 'x_entities' for heads that predict a number or spans of the text."
    )
    instructions: Content | None = Field(None, description="The question.")
    criteria: Named[Content | None] | Several[Content] | None = Field(
        None,
        description="What the answers mean: an object with 'true' and 'false' for a noul, options with descriptions or "
        "null for a choice, a list of levels for a score. A question that a head answers needs none.",
    )


class SystemOneBody(BaseModel):
    """A state, and questions about it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str = Field(description="'jev-latest', or a name that GET /v1/models lists.")
    state: Content = Field(description="What the questions are about.")
    questions: Named[Question] = Field(
        min_length=1, description="Questions by id. The name of a head as id asks this head."
    )
    assets: dict[str, Any] | None = Field(None, description="Not supported: the model reads text.")


def check_body(body: SystemOneBody, settings: ServerSettings) -> None:
    """Check sizes and the form of each question, before anything is tokenized.

    Raises:
        InvalidBodyError: a limit or a rule is broken.
    """
    if body.assets:
        raise invalid(["assets"], "images are not supported, the model reads text; leave them out")
    if len(body.questions) > settings.max_texts:
        message = f"has {len(body.questions):,} questions, at most {settings.max_texts:,} are allowed"
        raise invalid(["questions"], message, "too_long")
    _check_length("state", [body.state], settings)
    contents = [part for one in body.questions.values() for part in (one.instructions, one.criteria)]
    _check_length("questions", [*body.questions, *contents], settings)
    for name, question in body.questions.items():
        if not name:
            raise invalid(["questions", name], "an id is empty; give each question a name", "string_too_short")
        _check_criteria(name, question)


def _check_length(field: str, contents: list[Any], settings: ServerSettings) -> None:
    try:
        characters = sum(len(text_of(content)) for content in contents)
    except ValueError:
        raise invalid([field], "contains a number that JSON cannot write: NaN, infinite or too long") from None
    if characters > settings.max_characters:
        message = f"has {characters:,} characters, at most {settings.max_characters:,} are allowed"
        raise invalid([field], message, "string_too_long")


def _check_criteria(name: str, question: Question) -> None:
    place, criteria = ["questions", name, "criteria"], question.criteria
    if criteria is None:
        return
    if question.type == "score":
        if not isinstance(criteria, list):
            raise invalid(place, "a score needs a list of levels, from the lowest to the highest", "list_type")
        _check_count(place, len(criteria), MOST_LEVELS, "levels")
    elif question.type.startswith("x_"):
        raise invalid(place, f"{question.type} has no criteria; leave them out", "extra_forbidden")
    elif not isinstance(criteria, dict):
        raise invalid(place, f"a {question.type} needs an object", "dict_type")
    elif question.type == "choice":
        _check_count(place, len(criteria), MOST_OPTIONS, "options")
    elif not set(criteria) <= {"true", "false"}:
        raise invalid(place, "a noul has descriptions of 'true' and 'false' only", "extra_forbidden")


def _check_count(place: list[str], count: int, most: int, what: str) -> None:
    if not 2 <= count <= most:
        raise invalid(place, f"needs 2 to {most} {what}, got {count}", "too_short" if count < 2 else "too_long")
