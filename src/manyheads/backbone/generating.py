"""Calls of the model's own ``generate``, whose prefill also yields the states that heads read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone.forward import ForwardPass
from manyheads.backbone.prefill import Prefill
from manyheads.backbone.quiet import transformers_quiet
from manyheads.backbone.row_groups import RowGroups, stays
from manyheads.backbone.stack.left_padding import LeftPadded, left_pad
from manyheads.backbone.stack.module_state import ModuleState, kept_state
from manyheads.backbone.stack.probe import evaluating, forward_arguments, probe_batch
from manyheads.backbone.stack.right_padding import RightPadded, right_pad
from manyheads.types import Batch, Request, States

# What ``generate`` and a model's forward both take, without an effect on the states of the prompts.
_WITHOUT_EFFECT = frozenset(
    {
        "use_cache",
        "output_attentions",
        "output_hidden_states",
        "logits_to_keep",
        "decoder_input_ids",
        "decoder_attention_mask",
    }
)
_ONE_TOKEN = {"max_new_tokens": 1, "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "pad_token_id": 0}


# Called after each token with all token ids so far, (rows, tokens); returns which rows are finished, (rows,) booleans.
Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class GeneratingPass:
    """Generations of a backbone that also give the states of their prompts.

    Attributes:
        forward: The passes of the same backbone.
        row_groups: The rows that may be computed together.
        left_padding_is_exact: Returns whether the prefill of a left-padded batch gives the states of each row alone.
    """

    forward: ForwardPass
    row_groups: RowGroups
    left_padding_is_exact: Callable[[], bool]

    def prepared(self, padded: RightPadded, request: Request, pad: int, options: Mapping[str, Any]) -> Generation:
        """Return a generation that has not run yet.

        Args:
            padded: The prompts; every row has a real token.
            request: States that a prefill serves.
            pad: The id of padding. Processors of logits see it, such as a repetition penalty.
            options: Options of ``generate``.
        """
        trunk, layers = self.forward.trunk, self._layers(request)
        encodes = trunk.model.config.is_encoder_decoder  # type: ignore[union-attr]
        layout = LeftPadded.not_moved(padded, pad) if encodes else left_pad(padded, pad)
        prefill = Prefill(trunk.stack, layout.batch.input_ids, layers, trunk.layers, trunk.causal)
        is_recorded = bool(layers) and self._is_readable(layout, options)
        return Generation(self, padded, request, options, layout, prefill, is_recorded)

    def serves(self, request: Request) -> bool:
        """Return whether a request's states come from a prefill: hidden states, and those of forks above them."""
        branches = self.forward.branches
        resume = all(branches.named(name).entry_layers(needed) for name, needed in request.branches.items())
        return resume and not request.pooled and not request.prompts

    def _layers(self, request: Request) -> frozenset[int]:
        """Return the layers of the trunk that a request needs, its own and those that enter forks."""
        branches = self.forward.branches
        entries = [branches.named(name).entry_layers(needed) for name, needed in request.branches.items()]
        return request.layers.union(*entries)

    def _is_readable(self, prompts: LeftPadded, options: Mapping[str, Any]) -> bool:
        """Return whether the prefill computes each prompt's states as a forward pass in eval mode does."""
        model = self.forward.trunk.model
        if any(part.training for part in model.modules()):
            return False
        if set(options) & (forward_arguments(model) - _WITHOUT_EFFECT):
            return False
        return self.share_a_pass(prompts.batch) and (not prompts.moves or self.left_padding_is_exact())

    def share_a_pass(self, batch: Batch, repeats: int = 1) -> bool:
        """Return whether all rows of a batch, each repeated so often, may be computed together."""
        lengths = batch.attention_mask.sum(dim=1).repeat_interleave(repeats)
        return len(self.row_groups.of(lengths)) == 1


@dataclass(frozen=True, eq=False)
class Generation:
    """One call of ``generate``.

    Attributes:
        generating: The passes of the backbone.
        padded: The prompts, right-padded.
        request: The states to read from the prefill.
        options: Options of ``generate``.
        layout: The prompts as ``generate`` receives them.
        prefill: Records the states.
        is_recorded: Whether the prefill is what a forward pass computes, as far as is known before.
    """

    generating: GeneratingPass
    padded: RightPadded
    request: Request
    options: Mapping[str, Any]
    layout: LeftPadded
    prefill: Prefill
    is_recorded: bool

    def run(self, step: Step | None = None) -> Any:
        """Generate, and return the output of ``generate``.

        Args:
            step: Called after each token.
        """
        model, forward = self.generating.forward.trunk.model, self.generating.forward
        recording = self.prefill.recording() if self.is_recorded else nullcontext()
        with forward.kept(model), recording:
            return model.generate(**self.layout.batch.inputs(), **_with_step(self.options, step))  # type: ignore[operator]

    def states(self) -> States | None:
        """Return the right-padded states of the prompts, from the first token on; called once.

        Returns ``None`` if the prefill was not what a forward pass computes.
        """
        if not self.prefill.complete or not self.generating.share_a_pass(self.layout.batch, self.prefill.repeats):
            return None
        forward = self.generating.forward
        hidden = {layer: self.layout.to_right(states) for layer, states in self.prefill.take_hidden().items()}
        with evaluating(forward.branches):
            return forward.after_trunk(self.padded, self.request, hidden)


def changes_while_generating(model: nn.Module) -> bool:
    """Return whether a model's own state differs between two tokens from its state before; tried on a few tokens.

    Another forward pass between two tokens would then read the state of the generation, and change it.
    """
    ids = probe_batch(model).batch.input_ids[:1]
    with evaluating(model), kept_state(model), transformers_quiet():
        try:
            _changes_in_trial(model, ids)  # prepares what a model prepares once
            return _changes_in_trial(model, ids)
        except Exception:  # whatever its code raises: nothing is known then
            return True


def _changes_in_trial(model: nn.Module, ids: Tensor) -> bool:
    before, changes = ModuleState(model), []

    def compare(ids: Tensor) -> Tensor:
        changes.append(before.is_changed)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    options = {**_ONE_TOKEN, "max_new_tokens": 3, "min_new_tokens": 3}
    model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **_with_step(options, compare))  # type: ignore[operator]
    return any(changes)


def _with_step(options: Mapping[str, Any], step: Step | None) -> dict[str, Any]:
    """Return options with a function that is called after each token."""
    if step is None:
        return dict(options)
    criteria = [*(options.get("stopping_criteria") or ()), lambda ids, _scores, **_: step(ids)]
    return {**options, "stopping_criteria": criteria}


def left_padding_is_exact(forward: ForwardPass, row_groups: RowGroups) -> bool:
    """Return whether the prefill of a left-padded batch gives the states of each row alone; tried on a few tokens."""
    model, stack = forward.trunk.model, forward.trunk.stack
    trial = GeneratingPass(forward, row_groups, lambda: True)
    batch = probe_batch(stack).batch
    ids, mask = batch.input_ids.flip(0), batch.attention_mask.flip(0)  # the padded row first
    short = ids[:1, : int(mask[0].sum())]

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        generation = trial.prepared(right_pad(Batch(ids, mask)), Request(frozenset({-1})), 0, _ONE_TOKEN)
        generation.run()
        states = generation.states()
        if states is None:
            raise RuntimeError("no prefill was recorded")
        return states.hidden[-1]

    with evaluating(model), kept_state(model), transformers_quiet():
        alone = forward(Batch(short, torch.ones_like(short)), Request(frozenset({-1})))[0].hidden[-1]
        return stays(run, ids, mask, alone)
