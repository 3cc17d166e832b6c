"""The passes over the texts inside the graph: one over the texts alone, and one for each prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.probe import forward_arguments
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.backbone.trunk import TrunkOutput
from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.export.onnx.backbone_copy import traceable_pass
from manyheads.export.onnx.inputs import (
    IDS,
    MASK,
    TYPES,
    WORD_IDS,
    WORD_NUMBERS,
    pass_input,
    sample_texts,
    sample_words,
)
from manyheads.types import Batch, Request, States, WordIds


class Passes(nn.Module):
    """A copy of the backbone and its branches, run once for each prompt and once for the texts alone.

    Args:
        core: Backbone and heads.
        request: The states that the heads need.
        by_word: Whether a head labels words.
        token_types: Whether the tokenizer gives ``token_type_ids``.
        lm: Whether to return the language model's logits.

    Attributes:
        request: The states that the heads need.
        reads_texts: Whether there is a pass over the texts alone.

    Raises:
        ExportError: quantized weights, or ``lm`` without a language model that reads only the texts.
    """

    def __init__(self, core: HeadedCore, request: Request, by_word: bool, token_types: bool, lm: bool) -> None:
        super().__init__()
        self.request, self.lm = request, lm
        self.reads_texts = lm or not replace(request, prompts={}).empty
        self._by_word = by_word
        inner = [request, *request.prompts.values()]
        self.running = traceable_pass(core.backbone, {name for part in inner for name in part.branches})
        trunk = self.running.trunk
        self.model, self.pooler, self.branches = trunk.model, trunk.pooler, self.running.branches
        if lm and (not trunk.has_lm or trunk.model.config.is_encoder_decoder):  # type: ignore[union-attr]
            raise ExportError(
                f"{trunk.name}: has no language model that reads only the texts; export without its logits"
            )
        self._token_types = token_types and TYPES in forward_arguments(trunk.model if lm else trunk.stack)
        self._vocabulary = core.backbone.vocabulary_size

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[States, Tensor | None]:
        """Return the requested states, and the language model's logits (rows, tokens, vocabulary) if there are any."""
        texts = self._run(inputs, 0, self.request) if self.reads_texts else None
        prompts = {
            prompt: self._run(inputs, number, request).states
            for number, (prompt, request) in enumerate(self.request.prompts.items(), start=1)
        }
        if texts is None:
            first = next(iter(prompts.values()))
            return States({}, first.mask, first.input_ids, prompts=prompts), None
        return replace(texts.states, prompts=prompts), texts.logits

    def sample_inputs(self) -> dict[str, Tensor]:
        """Return inputs to trace the passes with."""
        numbers = range(0 if self.reads_texts else 1, len(self.request.prompts) + 1)
        inputs: dict[str, Tensor] = {}
        for number in numbers:
            inputs |= sample_texts(number, self._vocabulary, self._token_types and number == 0)
        return inputs | (sample_words(inputs[MASK]) if self._by_word else {})

    def _run(self, inputs: Mapping[str, Tensor], number: int, request: Request) -> TrunkOutput:
        return self.running.run_texts(self._padded(inputs, number), request, self.lm and number == 0)

    def _padded(self, inputs: Mapping[str, Tensor], number: int) -> RightPadded:
        """Return the texts of one pass, with the safe padding of ``right_pad``."""
        ids, mask = inputs[pass_input(IDS, number)], inputs[pass_input(MASK, number)]
        real = mask.bool()
        ids = ids.masked_fill(~real, 0)
        # Of a row with any token this changes nothing, since its first token is real.
        attended = mask.masked_fill(torch.arange(mask.shape[1]) == 0, 1)
        types = torch.zeros_like(ids) if number else inputs.get(TYPES)
        batch = Batch(ids, attended, types if self._token_types else None)
        return RightPadded(batch, real, None, mask.shape[1], self._words(inputs, real, number))

    def _words(self, inputs: Mapping[str, Tensor], real: Tensor, number: int) -> WordIds:
        if number or not self._by_word:
            return WordIds(torch.full_like(real, -1, dtype=torch.int64), 0)
        return WordIds(inputs[WORD_IDS].masked_fill(~real, -1), inputs[WORD_NUMBERS].shape[0])
