"""Generate and predict in one pass over the prompts: heads read the prefill of ``generate``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.backbone.stack.right_padding import right_pad
from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import SecondPassWarning, listed
from manyheads.features.extract import check_finite
from manyheads.heads import Head
from manyheads.inference.continuations import Continuations, by_prompt, continuations
from manyheads.inference.generate_options import check_options, check_room, completed, padding_id
from manyheads.inference.predictions import Predictions
from manyheads.inference.scorer import Scorer
from manyheads.taps import BackboneTap
from manyheads.types import Features, Tokenizer


def generate_and_predict(
    core: HeadedCore,
    tokenizer: Tokenizer,
    prompts: Texts,
    heads: Iterable[str] | None,
    options: Mapping[str, Any],
) -> tuple[Continuations, Predictions]:
    """Continue prompts as ``generate`` does and predict them as ``Scorer`` does.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        prompts: All of them are one batch.
        heads: Names of heads; all by default.
        options: Options of ``generate``.

    Returns:
        For each prompt the generated text, or a list of texts if there are several; and the predictions.

    Raises:
        NoLanguageModelError: the backbone does not generate text.
        HeadError: there is no head.
        InputError: an option that is made from the prompts, or a prompt that leaves no room for new tokens.
    """
    check_options(options)
    core.backbone.check_generates()
    heads = None if heads is None else [*core.heads.chosen(heads)]
    scorer = Scorer(core, tokenizer)
    loaded = scorer.in_loaded_precision(heads)
    generation = _Generation(core, tokenizer, loaded, options)
    predictions = scorer.with_pass(prompts, heads, generation)
    _warn_of_precision(core, {name: core.heads[name] for name in predictions.heads if name not in loaded})
    return by_prompt(generation.texts, len(predictions)), predictions


@dataclass(frozen=True)
class _Generation:
    """The pass that generates: called with the tokens of the prompts, it returns what heads read of them.

    Features that a prefill does not compute are left out: those under a prompt, of a LoRA adapter, or of a pooler.

    Attributes:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        heads: The heads that are asked in the precision of the loaded weights.
        options: Options of ``generate``.
        texts: The generated texts, once it was called.
    """

    core: HeadedCore
    tokenizer: Tokenizer
    heads: Mapping[str, Head]
    options: Mapping[str, Any]
    texts: list[str] = field(default_factory=list)

    def __call__(self, tokenized: Tokenized) -> dict[BackboneTap, Features]:
        """Generate, and return the features of the prompts by ``stored`` tap, on the CPU."""
        if not len(tokenized):
            return {}
        backbone, rows, taps = self.core.backbone, np.arange(len(tokenized)), self._taps()
        check_room(tokenized, self.options, backbone, self.tokenizer)
        pad = padding_id(self.options, backbone.model, self.tokenizer)
        options = completed(self.options, backbone.model, self.tokenizer)
        padded = right_pad(tokenized.batch(rows).to(backbone.device))
        output, states = backbone.generation(padded, self.core.request(taps), pad, options)
        self.texts.extend(self._decoded(tokenized, getattr(output, "sequences", output)))
        if states is None:
            self._warn_of_second_pass(taps)
            return {}
        with torch.no_grad():
            read = {tap: tap.read(states) for tap in taps}
        check_finite(self.core, rows, read)
        return {tap: features.cpu() for tap, features in read.items()}

    def _taps(self) -> list[BackboneTap]:
        """Return the taps whose features a prefill computes."""
        facts, generation = self.core.backbone.facts, self.core.backbone.generation
        taps = dict.fromkeys(tap.stored for tap in self.core.heads.taps_of(self.heads) if tap.needs_pass(facts))
        return [tap for tap in taps if generation.serves(tap.request(facts))]

    def _decoded(self, tokenized: Tokenized, sequences: Tensor) -> list[str]:
        """Return the generated texts, in the order of the sequences."""
        rows = sequences.tolist()
        count, longest = len(rows) // len(tokenized), tokenized.lengths.max()
        if self.core.backbone.model.config.is_encoder_decoder:  # type: ignore[union-attr]
            return continuations(self.tokenizer, [[]] * len(rows), rows)
        prompts = [tokenized.ids(number // count) for number in range(len(rows))]
        unpadded = [row[longest - len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]
        return continuations(self.tokenizer, prompts, unpadded)

    def _warn_of_second_pass(self, taps: list[BackboneTap]) -> None:
        if taps:
            warnings.warn(
                f"{self.core.backbone.name}: with these options or prompts, generate does not compute what heads were "
                "trained on, so they read the prompts in a second pass",
                SecondPassWarning,
                stacklevel=6,
            )


def _warn_of_precision(core: HeadedCore, heads: Mapping[str, Head]) -> None:
    facts = core.backbone.facts
    names = [name for name in heads if any(tap.needs_pass(facts) for tap in core.heads.taps_of([name]))]
    if names:
        precision = heads[names[0]].summary["precision"]
        loaded = str(next(core.backbone.stack.parameters()).dtype).removeprefix("torch.")
        warnings.warn(
            f"Heads {listed(names)}: were trained on {precision} features and the language model runs in {loaded}, so "
            f"they read the prompts in a second pass; load the model with dtype={precision!r} for one pass",
            SecondPassWarning,
            stacklevel=4,
        )
