"""The prompt in which a language model reads a state and a question.

The state comes first, so that all questions about it share the computation of its tokens. Then come descriptions of the
options, if there are any, the question and the cue of the answer::

    I was charged twice.

    Billing: Payments, invoices, refunds
    Technical: Bugs, outages

    Q: Which team should handle this ticket?
    A:

The model's next token is compared with the words of the options. Options without a description are not listed: on
SmolLM2-135M a list of names made it repeat the names, whatever the state was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from manyheads.server.systemone.content import text_of
from manyheads.server.systemone.questions import Question
from manyheads.taps.prompted import SLOT

# A question without instructions, by its type.
_DEFAULT = {"noul": "Yes or no?", "choice": "Which of these fits?", "score": "Which of these fits?"}


@dataclass(frozen=True, order=True)
class Option:
    """A possible answer.

    Attributes:
        name: Its name.
        description: When it applies; empty for none.
        words: The words with which the language model answers it.
    """

    name: str
    description: str
    words: tuple[str, ...]


@dataclass(frozen=True, order=True)
class PromptedQuestion:
    """A question to the language model. Its id, and the other questions of the request, are no part of it.

    Attributes:
        instructions: The question.
        options: The possible answers.
        is_listed: Whether the prompt lists all options, marked by their words.
    """

    instructions: str
    options: tuple[Option, ...]
    is_listed: bool = False

    @staticmethod
    def of(question: Question) -> PromptedQuestion:
        """Return a checked question as one to the language model."""
        instructions = text_of(question.instructions) or _DEFAULT[question.type]
        return PromptedQuestion(instructions, tuple(_options(question)))

    @property
    def prompt(self) -> str:
        """The prompt, with a slot for the state."""
        shown = _listed(self.options) if self.is_listed else _described(self.options)
        lines = [*shown, *([""] if shown else []), f"Q: {self.instructions}", "A:"]
        # The only slot is that of the state.
        return f"{SLOT}\n\n" + "\n".join(lines).replace(SLOT, SLOT.replace("{", "{ "))

    def listed(self) -> PromptedQuestion:
        """Return the question with a list of all options, whose answers are their marks: letters, or numbers of equal
        length if there are too many."""
        marks = _marks(len(self.options))
        options = [
            Option(option.name, option.description, (mark,)) for option, mark in zip(self.options, marks, strict=True)
        ]
        return PromptedQuestion(self.instructions, tuple(options), is_listed=True)


def _options(question: Question) -> list[Option]:
    criteria = question.criteria
    if question.type == "noul":
        known = criteria if isinstance(criteria, dict) else {}
        yes, no = text_of(known.get("true")), text_of(known.get("false"))
        return [Option("yes", yes, ("yes", "Yes")), Option("no", no, ("no", "No"))]
    if isinstance(criteria, dict):
        return [Option(name, text_of(description), (name,)) for name, description in criteria.items()]
    return [Option(level, "", (level,)) for level in map(text_of, criteria or ())]


def _described(options: Sequence[Option]) -> list[str]:
    return [f"{option.name}: {option.description}" for option in options if option.description]


def _listed(options: Sequence[Option]) -> list[str]:
    return [
        f"{option.words[0]}. {option.name}" + (f": {option.description}" if option.description else "")
        for option in options
    ]


def _marks(count: int) -> list[str]:
    if count <= len(ascii_uppercase):
        return list(ascii_uppercase[:count])
    width = len(str(count))
    return [str(number).zfill(width) for number in range(1, count + 1)]
