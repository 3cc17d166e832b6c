"""The events of a generation: the heads' answers after the prefill, text piece by piece, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from manyheads.inference.predictions import Predictions

FinishReason = Literal["end", "stop", "length", "stopped"]


@dataclass(frozen=True)
class TextPiece:
    """The next piece of a generated text.

    Attributes:
        prompt: The number of the prompt, from 0.
        sequence: The number of the text among those of the prompt: 0, unless ``num_return_sequences`` is above 1.
        text: The piece: at least one character, and none that later tokens change.

    Examples:
        >>> _, piece, *_ = trained.stream_generation(texts[:1], max_new_tokens=3, do_sample=False)
        >>> piece.prompt, piece.sequence, len(piece.text) > 0
        (0, 0, True)
    """

    prompt: int
    sequence: int
    text: str


@dataclass(frozen=True)
class GenerationEnd:
    """How a generation ended.

    Attributes:
        reasons: For each text, in the order of the prompts: ``"end"`` after an end token, ``"stop"`` before a stop
            string, ``"length"`` after the most tokens, ``"stopped"`` if the caller or a time limit ended it.
        input_tokens: Number of tokens of each prompt.
        output_tokens: Number of tokens of each text, the end token included.

    Examples:
        >>> *_, end = trained.stream_generation(["mild cough"], max_new_tokens=3, min_new_tokens=3)
        >>> end.reasons, end.input_tokens, end.output_tokens
        (('length',), (2,), (3,))
    """

    reasons: tuple[FinishReason, ...]
    input_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]


Event = Predictions | TextPiece | GenerationEnd
