"""Answer questions about states with the language model."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts, read_texts_from_list
from manyheads.errors import ManyheadsError
from manyheads.inference import Scorer
from manyheads.inference.answer_parts import answers_by_part
from manyheads.inference.flags import flags_of
from manyheads.inference.predictions import Predictions
from manyheads.server.engine import Work, tokens_of
from manyheads.server.served import Served
from manyheads.server.systemone.prompts import PromptedQuestion
from manyheads.server.systemone.zero_shot import ZeroShotHeads

# Of each question in a pass, the hidden states of all tokens are in memory: about how many tokens in all.
_HELD_TOKENS = 1 << 15


@dataclass(frozen=True)
class AnsweredState:
    """The answers to questions about a state.

    Attributes:
        probabilities: Question -> the probability of each option.
        flag: ``"empty"``, ``"truncated"`` or ``None``.
        tokens: Number of tokens that were read: those of the state once, and those of each prompt.
    """

    probabilities: Mapping[PromptedQuestion, Sequence[float]]
    flag: str | None
    tokens: int


@dataclass(frozen=True, eq=False)
class SystemOneWork(Work[AnsweredState]):
    """Questions about a state.

    Attributes:
        state: The state, as text.
        questions: Different questions, sorted.
        heads: The heads that answer them.
    """

    state: str
    questions: tuple[PromptedQuestion, ...]
    heads: ZeroShotHeads

    @property
    def group(self) -> Hashable:
        """States with the same questions are read together."""
        return self.questions

    @property
    def size(self) -> int:
        """About how many tokens the state and the prompts have."""
        return tokens_of(self.state) + sum(tokens_of(question.prompt) for question in self.questions)

    def run(self, served: Served, others: Sequence[Work[AnsweredState]]) -> list[AnsweredState | Exception]:
        """Read the states of all works, with the questions after each.

        The tokens of a state are read once. A state that cannot be read costs no other its answers.
        """
        states = [self.state, *(work.state for work in others if isinstance(work, SystemOneWork))]
        core = HeadedCore(served.core.backbone).eval()
        names = {f"question_{place}": question for place, question in enumerate(self.questions)}
        for name, question in names.items():
            core.heads.add(name, self.heads.of(served, question))
        reader = _Reader(served.scorer.on(core), names)
        texts = read_texts_from_list(states)
        blocks = [reader.read(texts, block) for block in _blocks(list(names), sum(map(tokens_of, states)))]
        added = _prompt_tokens(core)
        return [_joined(parts, added) for parts in zip(*blocks, strict=True)]


@dataclass(frozen=True)
class _Reader:
    """Reads states with some of the questions.

    Attributes:
        scorer: Has a head for each question.
        names: Name of the head -> question.
    """

    scorer: Scorer
    names: Mapping[str, PromptedQuestion]

    def read(self, texts: Texts, heads: Sequence[str]) -> list[AnsweredState | ManyheadsError]:
        """Return the answers of some heads for each state, or why it has none."""
        answers: dict[int, AnsweredState | ManyheadsError] = {}
        for rows, answer in answers_by_part(lambda some: self.scorer(some, heads), texts):
            found = [answer] if isinstance(answer, ManyheadsError) else self._answers(answer, heads)
            answers |= dict(zip(rows.tolist(), found, strict=True))
        return [answers[row] for row in range(len(texts))]

    def _answers(self, predictions: Predictions, heads: Sequence[str]) -> list[AnsweredState]:
        scores = {self.names[name]: predictions.scores[name].tolist() for name in heads}
        return [
            AnsweredState({question: rows[row] for question, rows in scores.items()}, flag, count)
            for row, (flag, count) in enumerate(zip(flags_of(predictions), predictions.tokens.tolist(), strict=True))
        ]


def _blocks(names: Sequence[str], tokens: int) -> Iterator[Sequence[str]]:
    """Yield the heads that answer in one pass. Two at least, so that they share the computation of the states."""
    size = max(2, _HELD_TOKENS // tokens)
    for start in range(0, len(names), size):
        yield names[start : start + size]


def _prompt_tokens(core: HeadedCore) -> int:
    taps = core.heads.taps_of(core.heads)
    return sum(template.added for template in core.backbone.templates(core.request(taps)).values())


def _joined(parts: Sequence[AnsweredState | ManyheadsError], added: int) -> AnsweredState | ManyheadsError:
    """Return the answers to all blocks of questions about one state, or the first error."""
    answered: list[AnsweredState] = []
    for part in parts:
        if isinstance(part, ManyheadsError):
            return part
        answered.append(part)
    probabilities = {question: found for part in answered for question, found in part.probabilities.items()}
    flag = next((part.flag for part in answered if part.flag is not None), None)
    return AnsweredState(probabilities, flag, answered[0].tokens + added)
