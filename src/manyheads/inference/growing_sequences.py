"""The sequences of a generation while they grow: their text, their numbers of tokens, and why they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from manyheads.inference.generation_events import Event, FinishReason, TextPiece
from manyheads.inference.growing_text import GrowingText

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Ended:
    """A complete sequence.

    Attributes:
        new: Its new tokens, and those that fill its row.
        text: Its text after the prompt.
        has_stop: Whether it contains one of the caller's ``stop_strings``.
        filler: The id of the tokens that fill its row.
    """

    new: Sequence[int]
    text: str
    has_stop: bool
    filler: int | None


class GrowingSequence:
    """A sequence that grows.

    Args:
        prompt: The token ids that it repeats.
        text: Its text after them.
        ends: The ids of the tokens that end it.

    Attributes:
        tokens: Number of its new tokens.
        is_complete: Whether an end token or a stop string was found.
    """

    def __init__(self, prompt: Sequence[int], text: GrowingText, ends: frozenset[int]) -> None:
        self.tokens = 0
        self.is_complete = False
        self.text = text
        self._prompt = prompt
        self._new: list[int] = []
        self._ends = ends
        self._has_ended = False
        self._has_stop = False

    def grow(self, new: Sequence[int]) -> str:
        """Add tokens, and return the next piece of text."""
        if self.is_complete:
            return ""
        self._add(new)
        piece = self.text.grow([*self._prompt, *self._new])
        self.is_complete = self._has_ended or self.text.is_stopped
        return piece

    def stops(self, new: Sequence[int]) -> bool:
        """Return whether a sequence that may become this one contains a stop string."""
        return self.text.stops([*self._prompt, *new])

    def finish(self, ended: Ended) -> str:
        """Take the complete sequence, and return the last piece of text."""
        is_counted = self.text.is_stopped
        piece = self.text.finish(ended.text)
        self._has_stop = self.text.is_stopped or ended.has_stop
        if not is_counted:
            self._new = []
            self._add(ended.new)
            while self._has_stop and self._new and self._new[-1] == ended.filler:
                self._new.pop()
            self.tokens = len(self._new)
        return piece

    def reason(self, most: int | None, was_stopped: bool) -> FinishReason:
        """Return why it ended.

        Args:
            most: The most new tokens, if known.
            was_stopped: Whether the caller ended the generation.
        """
        if self._has_stop:
            return "stop"
        if self._has_ended:
            return "end"
        is_shorter = was_stopped if most is None else self.tokens < most
        return "stopped" if is_shorter else "length"

    def _add(self, new: Sequence[int]) -> None:
        for token in new:
            self._new.append(token)
            if token in self._ends:
                self._has_ended = True
                break
        self.tokens = len(self._new)


class GrowingSequences:
    """The sequences of all prompts, and where their text goes.

    Args:
        by_prompt: The sequences of each prompt.
        emit: Called with each piece of text.
    """

    def __init__(self, by_prompt: Sequence[Sequence[GrowingSequence]], emit: Emit) -> None:
        self.sequences = [sequence for own in by_prompt for sequence in own]
        self._count = len(by_prompt[0])
        self._emit = emit

    def grow(self, new: Sequence[Sequence[int]]) -> list[bool]:
        """Add tokens to each sequence, and return which are complete."""
        for number, (sequence, tokens) in enumerate(zip(self.sequences, new, strict=True)):
            self._give_out(number, sequence.grow(tokens))
        return [sequence.is_complete for sequence in self.sequences]

    def stopped_beams(self, new: Sequence[Sequence[int]]) -> list[bool]:
        """Return which beams contain a stop string; those of one prompt are together."""
        beams = len(new) * self._count // len(self.sequences)
        return [self.sequences[row // beams * self._count].stops(tokens) for row, tokens in enumerate(new)]

    def finish(self, number: int, ended: Ended) -> None:
        """Take a complete sequence."""
        self._give_out(number, self.sequences[number].finish(ended))

    def _give_out(self, number: int, text: str) -> None:
        if text:
            self._emit(TextPiece(*divmod(number, self._count), text))
