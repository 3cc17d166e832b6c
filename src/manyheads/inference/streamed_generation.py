"""One generation that gives out its events, in the thread that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.inference.generate_options import (
    check_options,
    end_ids,
    filler_id,
    most_new_tokens,
    sequences_of_prompt,
    stop_strings_of,
)
from manyheads.inference.generating import warn_of_precision
from manyheads.inference.generation_events import Event, FinishReason, GenerationEnd, TextPiece
from manyheads.inference.growing_text import GrowingText, SequenceDecoder
from manyheads.inference.prompt_generation import PromptGeneration
from manyheads.inference.scorer import Scorer
from manyheads.types import Tokenizer

Emit = Callable[[Event], None]


class StreamedGeneration:
    """One generation that gives out its events, in the thread that runs it.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        scorer: Answers texts with these heads.
        prompts: All of them are one batch.
        heads: Names of heads; all by default, perhaps none.
        options: Options of ``generate``.
        stop: A text ends before the first of these strings.

    Raises:
        NoLanguageModelError: the backbone does not generate text.
        InputError: an option that is made from the prompts, or a prompt that leaves no room for new tokens.
    """

    def __init__(
        self,
        core: HeadedCore,
        tokenizer: Tokenizer,
        scorer: Scorer,
        prompts: Texts,
        heads: Iterable[str] | None,
        options: Mapping[str, Any],
        stop: Sequence[str] = (),
    ) -> None:
        check_options(options)
        core.backbone.check_generates()
        chosen = core.heads.chosen(heads)
        loaded = scorer.in_loaded_precision(chosen)
        warn_of_precision(core, {name: head for name, head in chosen.items() if name not in loaded})
        self._backbone, self._tokenizer, self._options, self._stop = core.backbone, tokenizer, options, stop
        self._scorer = scorer
        self._prepared = scorer.prepare(prompts, chosen)
        self._tokenized = self._prepared.whole
        self._generation: PromptGeneration | None = None
        if len(self._tokenized):
            self._generation = PromptGeneration(core, tokenizer, self._tokenized, loaded, options)

    def run(self, emit: Emit, proceed: Callable[[], bool]) -> None:
        """Generate; called once.

        Args:
            emit: Called with each event.
            proceed: Called after each token; returns whether to go on. It may wait, and let other threads run the
                model meanwhile if the backbone's ``can_interleave`` is true.
        """
        if self._generation is None:
            emit(self._scorer.predict_prepared(self._prepared))
            emit(GenerationEnd((), (), ()))
            return
        growth = _Growth(self._sequences(self._generation), emit)
        begin = self._predict_from_prefill(self._generation, emit)
        # A head may need a pass of its own, which would disturb such a generation.
        if not self._backbone.can_interleave:
            emit(self._scorer.predict_prepared(self._prepared))
            begin = _nothing
        steps = _Steps(growth, self._generation.tokens_before, begin, proceed)
        output = self._generation.run(steps)
        if not steps.start:  # no token was generated
            begin()
        self._finish(self._generation, output, growth, steps)
        emit(self._end(growth, steps.was_stopped))

    def _sequences(self, generation: PromptGeneration) -> list[list[_Sequence]]:
        """Return the sequences of each prompt."""
        count = sequences_of_prompt(self._options, self._backbone.model)
        decoder, ends = SequenceDecoder(self._tokenizer), end_ids(self._options, self._backbone.model)

        def sequence(row: int) -> _Sequence:
            prompt = generation.prompt_of(row, 1)
            return _Sequence(prompt, GrowingText(decoder, prompt, self._stop), ends)

        return [[sequence(row) for _ in range(count)] for row in range(len(self._tokenized))]

    def _predict_from_prefill(self, generation: PromptGeneration, emit: Emit) -> Callable[[], None]:
        return lambda: emit(self._scorer.predict_prepared(self._prepared, generation.features()))

    def _finish(self, generation: PromptGeneration, output: Tensor, growth: _Growth, steps: _Steps) -> None:
        """Give out the rest of each text."""
        model = self._backbone.model
        filler, stop_strings = filler_id(self._options, model), stop_strings_of(self._options, model)
        texts = generation.texts(output)
        for number, (row, text) in enumerate(zip(output.tolist(), texts, strict=True)):
            has_stop = any(string in text for string in stop_strings)
            growth.finish(number, _Ended(row[steps.start :], text, has_stop, filler))

    def _end(self, growth: _Growth, was_stopped: bool) -> GenerationEnd:
        most = most_new_tokens(self._options, self._backbone.model)
        return GenerationEnd(
            tuple(sequence.reason(most, was_stopped) for sequence in growth.sequences),
            tuple(self._tokenized.lengths.tolist()),
            tuple(sequence.tokens for sequence in growth.sequences),
        )


@dataclass(frozen=True)
class _Ended:
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


class _Sequence:
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

    def finish(self, ended: _Ended) -> str:
        """Take the complete sequence, and return the last piece of text."""
        was_stopped = self.text.is_stopped
        piece = self.text.finish(ended.text)
        self._has_stop = self.text.is_stopped or ended.has_stop
        if not was_stopped:  # its tokens end there
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


class _Growth:
    """The sequences of all prompts, and where their text goes.

    Args:
        by_prompt: The sequences of each prompt.
        emit: Called with each piece of text.
    """

    def __init__(self, by_prompt: Sequence[Sequence[_Sequence]], emit: Emit) -> None:
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

    def finish(self, number: int, ended: _Ended) -> None:
        """Take a complete sequence."""
        self._give_out(number, self.sequences[number].finish(ended))

    def _give_out(self, number: int, text: str) -> None:
        if text:
            self._emit(TextPiece(*divmod(number, self._count), text))


class _Steps:
    """Looks at all sequences after each token.

    Args:
        growth: The sequences.
        tokens_before: Returns the number of tokens before the generated ones from that after the first step.
        begin: Called after the first token.
        proceed: Returns whether to go on.

    Attributes:
        start: Number of tokens before the generated ones.
        was_stopped: Whether not to go on.
    """

    def __init__(
        self,
        growth: _Growth,
        tokens_before: Callable[[int], int],
        begin: Callable[[], None],
        proceed: Callable[[], bool],
    ) -> None:
        self.start = 0
        self.was_stopped = False
        self._growth = growth
        self._tokens_before = tokens_before
        self._begin = begin
        self._proceed = proceed
        self._seen = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """Return which rows (rows,) of the token ids (rows, tokens) are finished."""
        if not self.start:
            self.start = self._seen = self._tokens_before(ids.shape[1])
            self._begin()
        if len(ids) == len(self._growth.sequences):
            finished = self._growth.grow(ids[:, self._seen :].tolist())
        else:  # beams: which of them is the text is known at the end
            finished = self._growth.stopped_beams(ids[:, self.start :].tolist())
        self._seen = ids.shape[1]
        self.was_stopped = not self._proceed()
        return torch.tensor(finished, device=ids.device) | self.was_stopped


def _nothing() -> None:
    """Do nothing."""
