"""The module that is traced: from token tensors to the logits of all heads, in one pass per prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.lm_head import LMHead
from manyheads.backbone.stack.probe import forward_arguments
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.export.onnx.backbone_copy import traceable_pass
from manyheads.export.onnx.head_layers import HeadLayers, reads_lm_logits
from manyheads.export.onnx.scores import Scores, scores_of
from manyheads.taps import BackboneTap, Output, Tap
from manyheads.types import Batch, Features, Request, States, WordIds

LM_LOGITS = "lm_logits"
# Names of the graph's inputs; those of the passes with prompts end in the number of the pass.
IDS, MASK, TYPES, WORD_IDS, WORD_NUMBERS = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "word_ids",
    "word_numbers",
)


class HeadsGraph(nn.Module):
    """Backbone and heads, as they are traced; see ``manyheads.onnx.layout`` for inputs and outputs.

    Everything is a copy in fp32 on the CPU, in eval mode, that shares tensors with the model where it can.

    Args:
        core: Backbone and heads.
        heads: Names of the heads; the heads that they read come with them.
        token_types: Whether the tokenizer gives ``token_type_ids``.
        lm: Whether to return the language model's logits too, from the pass over the texts alone.

    Attributes:
        names: The heads, in the model's order.
        prompts: The prompt of each pass from 1 on.

    Raises:
        ExportError: quantized weights, a head whose scores no graph can compute, or ``lm`` without a language model
            that reads only the texts.
    """

    def __init__(self, core: HeadedCore, heads: Iterable[str], token_types: bool = False, lm: bool = False) -> None:
        super().__init__()
        read = core.heads.with_dependencies(heads)
        self._request = core.request(core.heads.taps_of(read))
        self._facts = core.backbone.facts
        self._requests = {
            name: core.request(core.heads.taps_of([name])) for name in read
        }
        self.names = tuple(read)
        self.prompts = tuple(self._request.prompts)
        self.lm = lm
        self._pass = traceable_pass(core.backbone, _branches(self._request))
        trunk = self._pass.trunk
        self.model, self.branches, self.pooler = trunk.model, self._pass.branches, trunk.pooler
        self.config = trunk.model.config
        lm_head = None
        if any(reads_lm_logits(tap) for head in read.values() for tap in head.taps):
            lm_head = LMHead(trunk.model, trunk.stack).module
        self.layers = nn.ModuleList([HeadLayers(head, self._facts, lm_head) for head in read.values()])
        taps = [tap for head in read.values() for tap in head.outputs]
        self._scores: dict[str, Scores] = {tap.head: scores_of(tap.head, read[tap.head]) for tap in taps}
        self._by_word = any(head.spec.by_word for head in read.values())
        runner = trunk.model if lm else trunk.stack
        self._types = token_types and TYPES in forward_arguments(runner)
        if lm and (not trunk.has_lm or core.backbone.model.config.is_encoder_decoder):
            raise ExportError("todo")

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        read, lm_logits = self._read(inputs)
        logits: dict[str, Tensor] = {}
        for name, layers in zip(self.names, self.layers, strict=True):
            features = read | {tap: self._scores_of(tap, logits) for tap in layers.taps if isinstance(tap, Output)}
            logits[name] = layers(features, inputs.get(bag_input(name)))
        return logits if lm_logits is None else {**logits, LM_LOGITS: lm_logits}

    def _scores_of(self, tap: Output, logits: Mapping[str, Tensor]) -> Features:
        return Features(tap.read(self._scores[tap.head](logits[tap.head])))

    def _read(self, inputs: Mapping[str, Tensor]) -> tuple[dict[Tap, Features], Tensor | None]:
        taps = list(dict.fromkeys(tap for layers in self.layers for tap in layers.taps if isinstance(tap, BackboneTap)))
        if not taps and not self.lm:
            return {}, None
        states, lm_logits = self._states(inputs)
        return {tap: tap.read(states) for tap in taps}, lm_logits

    def _states(self, inputs: Mapping[str, Tensor]) -> tuple[States, Tensor | None]:
        from dataclasses import replace
        r = self._request
        if r.trunk.empty and not r.branches and not self.lm:
            states, lm = States({}, *[next(iter(inputs.values()))]*2), None
        else:
            output = self._pass.run_texts(self._padded(inputs, 0), r, self.lm)
            states, lm = output.states, output.logits
        prompts = {
            prompt: self._pass.run_texts(self._padded(inputs, number), r.prompts[prompt]).states
            for number, prompt in enumerate(self.prompts, start=1)
        }
        return replace(states, prompts=prompts), lm

    def _padded(self, inputs, number) -> RightPadded:
        ids, mask = inputs[pass_input(IDS, number)], inputs[pass_input(MASK, number)]
        real = mask.bool()
        ids = ids.masked_fill(~real, 0)
        first = torch.arange(mask.shape[1]) == 0
        attention_mask = mask.masked_fill(first, 1)
        types = None
        if self._types:
            types = inputs[TYPES] if number == 0 else torch.zeros_like(ids)
        words = WordIds(torch.full_like(ids, -1), 0)
        if number == 0 and self._by_word:
            words = WordIds(inputs[WORD_IDS].masked_fill(~real, -1), inputs[WORD_NUMBERS].shape[0])
        return RightPadded(Batch(ids, attention_mask, types), real, None, mask.shape[1], words)

    def sample(self) -> dict[str, Tensor]:
        inputs = {}
        rows = 3
        v = self._facts.vocabulary_size
        needs = [0] if (not self._request.trunk.empty or self._request.branches or self.lm) else []
        for n in [*needs, *range(1, len(self.prompts) + 1)]:
            t = 9 + 2 * n
            ids = (torch.arange(rows * t).reshape(rows, t) * 7 + v // 3) % v
            mask = (torch.arange(t)[None] < torch.tensor([t, t - 2, 3])[:, None]).long()
            inputs[pass_input(IDS, n)] = ids
            inputs[pass_input(MASK, n)] = mask
            if n == 0 and self._types:
                inputs[TYPES] = torch.zeros_like(ids)
            if n == 0 and self._by_word:
                inputs[WORD_IDS] = (torch.arange(t) // 2).expand(rows, -1).masked_fill(mask == 0, -1).contiguous()
                inputs[WORD_NUMBERS] = torch.arange((t+1)//2)
        for name, layers in zip(self.names, self.layers):
            if layers.bag_width:
                inputs[bag_input(name)] = torch.randn(rows, layers.bag_width)
        return inputs


def pass_input(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def bag_input(head: str) -> str:
    return f"bag_{head}"


def _branches(request: Request) -> list[str]:
    names = dict.fromkeys(request.branches)
    for inner in request.prompts.values():
        names |= dict.fromkeys(inner.branches)
    return list(names)
