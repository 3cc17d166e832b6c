"""One call of the model's own ``generate``, whose prefill also yields the states that heads read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manyheads.backbone.forward import ForwardPass
from manyheads.backbone.prefill import Prefill
from manyheads.backbone.quiet import transformers_quiet
from manyheads.backbone.row_groups import RowGroups, stays
from manyheads.backbone.stack.left_padding import LeftPadded, left_pad
from manyheads.backbone.stack.module_state import kept_state
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


@dataclass(frozen=True)
class GeneratingPass:
    """One generation and, from its prefill, the states of the prompts.

    Attributes:
        forward: The passes of the same backbone.
        row_groups: The rows that may be computed together.
        left_padding_is_exact: Returns whether the prefill of a left-padded batch gives the states of each row alone.
    """

    forward: ForwardPass
    row_groups: RowGroups
    left_padding_is_exact: Callable[[], bool]

    def __call__(
        self, padded: RightPadded, request: Request, pad: int, options: Mapping[str, Any]
    ) -> tuple[Any, States | None]:
        """Generate, and return the output of ``generate`` and the requested states.

        Args:
            padded: The prompts; every row has a real token.
            request: States that a prefill serves.
            pad: The id of padding. Processors of logits see it, such as a repetition penalty.
            options: Options of ``generate``.

        Returns:
            The output, and the right-padded states, or ``None`` if the prefill is not what a forward pass computes.
        """
        trunk, layers = self.forward.trunk, self._layers(request)
        encodes = trunk.model.config.is_encoder_decoder  # type: ignore[union-attr]
        layout = LeftPadded.not_moved(padded, pad) if encodes else left_pad(padded, pad)
        prefill = Prefill(trunk.stack, layout.batch.input_ids, layers, trunk.layers, trunk.causal)
        recording = prefill.recording() if layers and self._is_readable(layout, options) else nullcontext()
        with self.forward.kept(trunk.model), recording:
            output = trunk.model.generate(**layout.batch.inputs(), **options)  # type: ignore[operator]
        if not prefill.complete or not self._share_a_pass(layout.batch, prefill.repeats):
            return output, None
        hidden = {layer: layout.to_right(states) for layer, states in prefill.hidden.items()}
        with evaluating(self.forward.branches):
            return output, self.forward.after_trunk(padded, request, hidden)

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
        return self._share_a_pass(prompts.batch) and (not prompts.moves or self.left_padding_is_exact())

    def _share_a_pass(self, batch: Batch, repeats: int = 1) -> bool:
        lengths = batch.attention_mask.sum(dim=1).repeat_interleave(repeats)
        return len(self.row_groups.of(lengths)) == 1


def left_padding_is_exact(forward: ForwardPass, row_groups: RowGroups) -> bool:
    """Return whether the prefill of a left-padded batch gives the states of each row alone; tried on a few tokens."""
    model, stack = forward.trunk.model, forward.trunk.stack
    trial = GeneratingPass(forward, row_groups, lambda: True)
    batch = probe_batch(stack).batch
    ids, mask = batch.input_ids.flip(0), batch.attention_mask.flip(0)  # the padded row first
    short = ids[:1, : int(mask[0].sum())]

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        _, states = trial(right_pad(Batch(ids, mask)), Request(frozenset({-1})), 0, _ONE_TOKEN)
        if states is None:
            raise RuntimeError("no prefill was recorded")
        return states.hidden[-1]

    with evaluating(model), kept_state(model), transformers_quiet():
        alone = forward(Batch(short, torch.ones_like(short)), Request(frozenset({-1})))[0].hidden[-1]
        return stays(run, ids, mask, alone)
