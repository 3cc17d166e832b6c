"""The module that is traced: from token tensors to the logits of heads, and of the language model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from manyheads.backbone.limits import token_limit
from manyheads.backbone.stack.lm_head import LMHead
from manyheads.core import HeadedCore
from manyheads.export.onnx.head_layers import HeadLayers, reads_lm_logits
from manyheads.export.onnx.inputs import bag_input, sample_bag
from manyheads.export.onnx.passes import Passes
from manyheads.export.onnx.scores import Scores, scores_of
from manyheads.heads import Head
from manyheads.taps import BackboneTap, Output, Tap
from manyheads.types import Features

LM_LOGITS = "lm_logits"


class HeadsGraph(nn.Module):
    """Copies of the backbone and of heads, in fp32 on the CPU; inputs and outputs are those of ``onnx.layout``.

    They share every tensor with the model that is in fp32 on the CPU already; nothing in the model changes.

    Args:
        core: Backbone and heads.
        heads: Names of heads; the heads that they read come with them.
        token_types: Whether the tokenizer gives ``token_type_ids``.
        lm: Whether to return the language model's logits too, from the pass over the texts alone.

    Attributes:
        owner: The backbone's class, for messages.
        most_tokens: Most tokens of a text that the backbone was made for; ``None`` for no limit.
        outputs: Head name -> the name of its output, in the model's order.
        prompts: The prompt of each pass from 1 on.
        passes: Runs the backbone; ``None`` if nothing reads it.
        heads: The heads' layers, in the order of ``outputs``.

    Raises:
        ExportError: quantized weights, a head whose scores no graph can compute, or ``lm`` without a language model
            that reads only the texts.
    """

    def __init__(self, core: HeadedCore, heads: Iterable[str], token_types: bool = False, lm: bool = False) -> None:
        super().__init__()
        chosen = core.heads.with_dependencies(core.heads.chosen(heads))
        self._requests = {name: core.request(core.heads.taps_of([name])) for name in chosen}
        request = core.request(core.heads.taps_of(chosen))
        by_word = any(head.spec.by_word for head in chosen.values())
        self.config, self.owner = core.backbone.model.config, core.backbone.name
        self.most_tokens = token_limit(core.backbone.model, None)
        self.prompts = tuple(request.prompts)
        self.passes = None if request.empty and not lm else Passes(core, request, by_word, token_types, lm)
        lm_head = self._lm_head(chosen)
        self._layers = {name: HeadLayers(head, core.backbone.facts, lm_head) for name, head in chosen.items()}
        self.heads = nn.ModuleList(self._layers.values())
        self._scores = _scores(chosen)
        self.outputs = _output_names(chosen, {*self.sample_inputs(), LM_LOGITS})
        self.eval()

    def passes_of(self, head: str) -> tuple[int, ...]:
        """Return the passes that a head reads, directly or through another head."""
        request = self._requests[head]
        texts = () if request.trunk.empty and not request.branches else (0,)
        return texts + tuple(number for number, prompt in enumerate(self.prompts, 1) if prompt in request.prompts)

    def sample_inputs(self) -> dict[str, Tensor]:
        """Return inputs to trace it with: several rows of unequal length."""
        inputs = {} if self.passes is None else self.passes.sample_inputs()
        for name, layers in self._layers.items():
            if layers.bag_width:
                inputs[bag_input(name)] = sample_bag(layers.bag_width)
        return inputs

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Return fp32 logits by the name of the output."""
        features, lm_logits = self._features(inputs)
        logits: dict[str, Tensor] = {}
        for name, layers in self._layers.items():
            scores = {tap: self._scores_read(tap, logits) for tap in layers.taps if isinstance(tap, Output)}
            logits[name] = layers(features | scores, inputs.get(bag_input(name)))
        named = {self.outputs[name]: values for name, values in logits.items()}
        return named if lm_logits is None else named | {LM_LOGITS: lm_logits.float()}

    def _features(self, inputs: Mapping[str, Tensor]) -> tuple[dict[Tap, Features], Tensor | None]:
        if self.passes is None:
            return {}, None
        states, lm_logits = self.passes(inputs)
        taps = dict.fromkeys(
            tap for layers in self._layers.values() for tap in layers.taps if isinstance(tap, BackboneTap)
        )
        return {tap: tap.read(states) for tap in taps}, lm_logits

    def _scores_read(self, tap: Output, logits: Mapping[str, Tensor]) -> Features:
        return Features(tap.read(self._scores[tap.head](logits[tap.head])))

    def _lm_head(self, heads: Mapping[str, Head]) -> nn.Module | None:
        if not any(reads_lm_logits(tap) for head in heads.values() for tap in head.taps):
            return None
        assert self.passes is not None
        trunk = self.passes.running.trunk
        return LMHead(trunk.model, trunk.stack).module


def _scores(heads: Mapping[str, Head]) -> dict[str, Scores]:
    read = dict.fromkeys(name for head in heads.values() for name in head.reads_heads)
    return {name: scores_of(name, heads[name]) for name in read}


def _output_names(heads: Iterable[str], reserved: set[str]) -> dict[str, str]:
    """Return an output's name for each head: the head's, unless an input or the language model has it."""
    taken, names = {*reserved, *heads}, {}
    for head in heads:
        name = head
        while name in reserved or (name != head and name in taken):
            name += "_logits"
        names[head] = name
        taken.add(name)
    return names
