"""The generation of one batch of prompts: its tokens, its texts, and what heads read of the prompts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.backbone.generating import Step
from manyheads.backbone.stack.right_padding import right_pad
from manyheads.core import HeadedCore
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import SecondPassWarning
from manyheads.features.extract import check_finite
from manyheads.heads import Head
from manyheads.inference.continuations import continuations
from manyheads.inference.generate_options import check_room, completed, padding_id
from manyheads.taps import BackboneTap
from manyheads.types import Features, Tokenizer


class PromptGeneration:
    """The generation of one batch of prompts.

    Features that a prefill does not compute are left out: those under a prompt, of a LoRA adapter, or of a pooler.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        tokenized: The prompts, at least one.
        heads: The heads that are asked in the precision of the loaded weights.
        options: Options of ``generate``.

    Raises:
        InputError: a prompt that leaves no room for new tokens.
    """

    def __init__(
        self,
        core: HeadedCore,
        tokenizer: Tokenizer,
        tokenized: Tokenized,
        heads: Mapping[str, Head],
        options: Mapping[str, Any],
    ) -> None:
        backbone = core.backbone
        check_room(tokenized, options, backbone, tokenizer)
        self._core, self._tokenizer, self._tokenized, self._heads = core, tokenizer, tokenized, heads
        self._generation = backbone.generation.prepared(
            right_pad(tokenized.batch(np.arange(len(tokenized))).to(backbone.device)),
            core.request(self._taps),
            padding_id(options, backbone.model, tokenizer),
            completed(options, backbone.model, tokenizer),
        )

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether sequences do not repeat their prompt."""
        return bool(self._core.backbone.model.config.is_encoder_decoder)  # type: ignore[union-attr]

    def run(self, step: Step | None = None) -> Tensor:
        """Generate, and return the sequences (rows, tokens), with their left-padded prompts.

        Args:
            step: Called after each token.
        """
        output = self._generation.run(step)
        sequences: Tensor = getattr(output, "sequences", output)
        return sequences

    def features(self) -> dict[BackboneTap, Features]:
        """Return the features of the prompts by ``stored`` tap, on the CPU; from the first token on."""
        states = self._generation.states()
        if states is None:
            self._warn_of_second_pass()
            return {}
        with torch.no_grad():
            read = {tap: tap.read(states) for tap in self._taps}
        check_finite(self._core, np.arange(len(self._tokenized)), read)
        return {tap: features.cpu() for tap, features in read.items()}

    def tokens_before(self, tokens: int) -> int:
        """Return the number of tokens before the generated ones.

        Args:
            tokens: Number of tokens of a sequence after the first step.
        """
        return tokens - 1 if self.is_encoder_decoder else int(self._tokenized.lengths.max())

    def prompt_of(self, number: int, count: int) -> list[int]:
        """Return the token ids that a sequence repeats.

        Args:
            number: The number of the sequence.
            count: Number of sequences of each prompt.
        """
        return [] if self.is_encoder_decoder else self._tokenized.ids(number // count)

    def without_padding(self, row: Sequence[int], prompt: Sequence[int]) -> Sequence[int]:
        """Return a sequence without the padding before its prompt."""
        return row if self.is_encoder_decoder else row[self._tokenized.lengths.max() - len(prompt) :]

    def texts(self, sequences: Tensor) -> list[str]:
        """Return the generated texts, in the order of the sequences."""
        rows = sequences.tolist()
        count = len(rows) // len(self._tokenized)
        prompts = [self.prompt_of(number, count) for number in range(len(rows))]
        return continuations(self._tokenizer, prompts, list(map(self.without_padding, rows, prompts)))

    @property
    def _taps(self) -> list[BackboneTap]:
        """The taps whose features a prefill computes."""
        facts, generation = self._core.backbone.facts, self._core.backbone.generation
        taps = dict.fromkeys(tap.stored for tap in self._core.heads.taps_of(self._heads) if tap.needs_pass(facts))
        return [tap for tap in taps if generation.serves(tap.request(facts))]

    def _warn_of_second_pass(self) -> None:
        if self._taps:
            warnings.warn(
                f"{self._core.backbone.name}: with these options or prompts, generate does not compute what heads were "
                "trained on, so they read the prompts in a second pass",
                SecondPassWarning,
                stacklevel=5,
            )
