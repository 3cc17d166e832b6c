"""The facts about a backbone that taps depend on."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from manyheads.backbone.pooler import SeparatePooler, missing_reason, output_width
from manyheads.backbone.stack.probe import observe
from manyheads.backbone.vocabulary import vocabulary_size
from manyheads.types import BackboneFacts


def observe_facts(
    model: nn.Module,
    stack: nn.Module,
    pooler: SeparatePooler | None,
    random_pooler: bool,
    lm_head: Callable[[Tensor], Tensor] | None,
) -> BackboneFacts:
    """Return the facts about a backbone, observed by one forward pass over eight tokens.

    Args:
        model: The Hugging Face model.
        stack: The module in it whose hidden states heads read.
        pooler: A trained pooler outside the model.
        random_pooler: Whether a pooler inside the stack was initialized at random while loading.
        lm_head: From the stack's last states to logits; see ``BackboneFacts``.
    """
    vocabulary = vocabulary_size(model)
    observed = observe(stack, vocabulary)
    reason = missing_reason(stack, pooler, random_pooler)
    width = None if reason else output_width(stack, pooler, observed.widths[-1])
    return BackboneFacts(type(model).__name__, observed.widths, observed.causal, vocabulary, width, reason, lm_head)
