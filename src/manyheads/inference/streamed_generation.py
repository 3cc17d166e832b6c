"""One generation that gives out its events, in the thread that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from manyheads.inference.generation_events import GenerationEnd
from manyheads.inference.growing_sequences import Emit, Ended, GrowingSequence, GrowingSequences
from manyheads.inference.growing_text import GrowingText, SequenceDecoder
from manyheads.inference.prompt_generation import PromptGeneration
from manyheads.inference.scorer import Scorer
from manyheads.types import Tokenizer


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
        growth = GrowingSequences(self._sequences(self._generation), emit)
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

    def _sequences(self, generation: PromptGeneration) -> list[list[GrowingSequence]]:
        """Return the sequences of each prompt."""
        count = sequences_of_prompt(self._options, self._backbone.model)
        decoder, ends = SequenceDecoder(self._tokenizer), end_ids(self._options, self._backbone.model)

        def sequence(row: int) -> GrowingSequence:
            prompt = generation.prompt_of(row, 1)
            return GrowingSequence(prompt, GrowingText(decoder, prompt, self._stop), ends)

        return [[sequence(row) for _ in range(count)] for row in range(len(self._tokenized))]

    def _predict_from_prefill(self, generation: PromptGeneration, emit: Emit) -> Callable[[], None]:
        return lambda: emit(self._scorer.predict_prepared(self._prepared, generation.features()))

    def _finish(self, generation: PromptGeneration, output: Tensor, growth: GrowingSequences, steps: _Steps) -> None:
        """Give out the rest of each text."""
        model = self._backbone.model
        filler, stop_strings = filler_id(self._options, model), stop_strings_of(self._options, model)
        texts = generation.texts(output)
        for number, (row, text) in enumerate(zip(output.tolist(), texts, strict=True)):
            has_stop = any(string in text for string in stop_strings)
            growth.finish(number, Ended(row[steps.start :], text, has_stop, filler))

    def _end(self, growth: GrowingSequences, was_stopped: bool) -> GenerationEnd:
        most = most_new_tokens(self._options, self._backbone.model)
        return GenerationEnd(
            tuple(sequence.reason(most, was_stopped) for sequence in growth.sequences),
            tuple(self._tokenized.lengths.tolist()),
            tuple(sequence.tokens for sequence in growth.sequences),
        )


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
        growth: GrowingSequences,
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
