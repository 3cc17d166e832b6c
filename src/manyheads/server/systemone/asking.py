"""Ask the heads and the language model the questions of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from manyheads.backbone.stack.lm_head import lm_reads_stack
from manyheads.core import HeadedCore
from manyheads.errors import ManyheadsError, listed
from manyheads.server.engine import AnsweredText, Engine, PredictWork
from manyheads.server.http.checks import read_texts
from manyheads.server.http.errors import RequestError, invalid, unanswered
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings
from manyheads.server.systemone.answers import choice_answer, noul_answer, score_answer
from manyheads.server.systemone.by_heads import (
    HeadQuestion,
    HeadText,
    head_answer,
    head_question,
    ids_of,
    text_for,
)
from manyheads.server.systemone.content import text_of
from manyheads.server.systemone.prompts import PromptedQuestion
from manyheads.server.systemone.questions import Question, SystemOneBody
from manyheads.server.systemone.work import AnsweredState, SystemOneWork
from manyheads.server.systemone.zero_shot import ZeroShotHeads

Result = TypeVar("Result")

# A request is asked anew if a model is exchanged between its parts, which answers come from one model only.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Asked:
    """The questions of a request, as one model answers them.

    Attributes:
        by_heads: Id -> question for a head.
        texts: Head -> what it reads.
        by_language_model: Id -> question for the language model.
    """

    by_heads: Mapping[str, HeadQuestion]
    texts: Mapping[str, HeadText]
    by_language_model: Mapping[str, PromptedQuestion]


@dataclass(frozen=True)
class Answered:
    """The answers to a request.

    Attributes:
        answers: Id -> answer, as JSON.
        tokens: Number of tokens that were read for them.
    """

    answers: Mapping[str, dict[str, Any]]
    tokens: int


def asked_of(core: HeadedCore, body: SystemOneBody) -> Asked:
    """Return who answers which question.

    Raises:
        InvalidBodyError: a question that nobody answers.
    """
    by_heads: dict[str, HeadQuestion] = {}
    by_language_model: dict[str, PromptedQuestion] = {}
    for name, question in body.questions.items():
        of_head = head_question(core, name, question)
        if of_head is None:
            _check_is_prompted(core, name, question)
            by_language_model[name] = PromptedQuestion.of(question)
        else:
            by_heads[name] = of_head
    heads = dict.fromkeys(question.head for question in by_heads.values())
    return Asked(by_heads, {name: text_for(core.heads[name], body.state) for name in heads}, by_language_model)


def _check_is_prompted(core: HeadedCore, name: str, question: Question) -> None:
    """Check that the language model can answer a question."""
    place = ["questions", name]
    if not core.backbone.generates or not lm_reads_stack(core.backbone.model):
        known = f"the ids that its heads answer are {listed(ids_of(core))}" if core.heads else "it has no heads either"
        raise invalid(place, f"this model has no decoder language model to answer it; {known}", "unknown_head")
    if question.type.startswith("x_"):
        raise invalid(
            [*place, "type"], f"only heads answer {question.type!r}; the ids of heads: {listed(ids_of(core))}"
        )
    if question.type != "noul" and question.criteria is None:
        raise invalid([*place, "criteria"], f"a {question.type} needs criteria, unless its id is a head", "missing")
    described = isinstance(question.criteria, dict) and any(map(text_of, question.criteria.values()))
    if question.type == "noul" and not text_of(question.instructions) and not described:
        raise invalid([*place, "instructions"], "a noul needs instructions or criteria", "missing")


@dataclass(frozen=True)
class Asker:
    """Asks heads and the language model.

    Attributes:
        serving: The model.
        engine: Computes.
        settings: Limits.
        heads: The zero-shot heads of the last questions.
    """

    serving: Serving
    engine: Engine
    settings: ServerSettings
    heads: ZeroShotHeads

    async def answer(self, body: SystemOneBody) -> tuple[Served, Answered]:
        """Answer a checked request, and return the model that answered.

        Raises:
            InvalidBodyError: a question that nobody answers, or a state that cannot be read.
            RequestError: the model was exchanged again and again.
        """
        for _ in range(_ATTEMPTS):
            served = self.serving.current
            asked = asked_of(served.core, body)
            found = await self._computed(served.core, body, asked)
            if all(other.fingerprint == served.fingerprint for other, _ in found):
                return served, _answered(served, body, asked, [part for _, part in found])
        raise RequestError(503, "reloading", "The model is being exchanged; retry", {"retry-after": "1"})

    async def _computed(
        self, core: HeadedCore, body: SystemOneBody, asked: Asked
    ) -> list[tuple[Served, Mapping[str, AnsweredText] | AnsweredState]]:
        """Compute the answers: the heads that read the same text together, and those of the language model."""
        heads_of: dict[HeadText, list[str]] = {}
        for head, text in asked.texts.items():
            heads_of.setdefault(text, []).append(head)
        works: list[Coroutine[Any, Any, Any]] = [self._predicted(core, text, names) for text, names in heads_of.items()]
        if asked.by_language_model:
            questions = tuple(sorted(set(asked.by_language_model.values())))
            works.append(self.engine.answer(SystemOneWork(text_of(body.state), questions, self.heads)))
        return await _all(works)

    async def _predicted(
        self, core: HeadedCore, text: HeadText, names: Sequence[str]
    ) -> tuple[Served, Mapping[str, AnsweredText]]:
        """Return the answer of each head for a text; with all heads, in the batch of ``/predict``."""
        heads = None if set(names) == set(core.heads) else tuple(core.heads.chosen(names))
        served, (answer,) = await self.engine.answer(PredictWork(read_texts([text], self.settings, ["state"]), heads))
        if isinstance(answer, ManyheadsError):
            raise unanswered([answer], [["state"]])
        return served, dict.fromkeys(names, answer)


async def _all(coroutines: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Wait for all; the first error cancels the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _answered(
    served: Served,
    body: SystemOneBody,
    asked: Asked,
    parts: Sequence[Mapping[str, AnsweredText] | AnsweredState],
) -> Answered:
    """Return the answers in the order of the questions."""
    predicted: dict[str, AnsweredText] = {}
    prompted = AnsweredState({}, None, 0)
    for part in parts:
        if isinstance(part, AnsweredState):
            prompted = part
        else:
            predicted |= part
    answers: dict[str, dict[str, Any]] = {}
    for name, question in body.questions.items():
        if name in asked.by_heads:
            own = asked.by_heads[name]
            answers[name] = head_answer(own, served.core.heads[own.head], predicted[own.head], asked.texts[own.head])
        else:
            answers[name] = _prompted_answer(question, asked.by_language_model[name], prompted)
    read = {id(answer): answer.tokens for answer in predicted.values()}
    return Answered(answers, prompted.tokens + sum(read.values()))


def _prompted_answer(question: Question, prompted: PromptedQuestion, state: AnsweredState) -> dict[str, Any]:
    """Return an answer of the language model as JSON."""
    probabilities = state.probabilities[prompted]
    flag = {} if state.flag is None else {"x_flag": state.flag}
    if question.type == "noul":
        return noul_answer(probabilities[0]) | flag
    if question.type == "score":
        return score_answer(list(question.criteria or ()), probabilities) | flag
    names = [option.name for option in prompted.options]
    return choice_answer(dict(zip(names, probabilities, strict=True))) | flag
