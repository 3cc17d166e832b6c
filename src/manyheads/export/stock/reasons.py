"""Why a stock class cannot express a head: what its logits are computed from, as observed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.core import HeadedCore
from manyheads.export.linear import ExportedHead
from manyheads.export.probe import Probe, device_of, encode, rows_of_words, stock_logits
from manyheads.export.stack import other_states
from manyheads.export.stock.final_norm import final_norm
from manyheads.export.stock.placing import PLACEMENTS, ClassifierLayers
from manyheads.taps import Hidden
from manyheads.taps.pooling import POOLINGS

_ELSEWHERE = "export it to sentence-transformers, or use the model itself (model.predict)"


@dataclass(frozen=True)
class Attempt:
    """A stock classifier that did not give a head's logits.

    Attributes:
        core: Backbone and heads.
        head: The head.
        model: The classifier, with the backbone's weights.
        layers: Its fully connected layers.
        tokenizer: The exported tokenizer.
        probe: The texts and their logits.
    """

    core: HeadedCore
    head: ExportedHead
    model: nn.Module
    layers: ClassifierLayers
    tokenizer: Any
    probe: Probe

    @property
    def name(self) -> str:
        """The classifier's class."""
        return type(self.model).__name__


@torch.no_grad()
def reason(attempt: Attempt) -> str:
    """Return the end of a message: why no placement gave the head's logits, and what can be done."""
    head, name = attempt.head, attempt.name
    if head.hidden:
        sizes = [len(layer.bias) for layer in head.hidden]
        return f"has hidden layers of {sizes}, for which {name} has no room; train it with hidden=[]"
    if isinstance(head.tap, Hidden):
        return _reason_for_texts(attempt, head.tap)
    states, _, _ = _run(attempt)
    if not _gives_logits(attempt, rows_of_words(states, attempt.tokenizer, attempt.probe)):
        return other_states(attempt.core, head, name)
    return f"is one linear layer, and {name} transforms states first; use the model itself (model.predict)"


def _reason_for_texts(attempt: Attempt, tap: Hidden) -> str:
    name = attempt.name
    if tap.normalize:
        return f"scales vectors to unit length, which {name} does not; {_ELSEWHERE}"
    if tap.pool == "pooler":
        return f"reads the pooler, and {name} does not; train it with another pooling, or use the model itself"
    states, mask, _ = _run(attempt)
    if not _gives_logits(attempt, POOLINGS[tap.pool](states, mask)):
        return other_states(attempt.core, attempt.head, name)
    if _ends_with_padding(attempt):
        return (
            f"reads the last token, and {name} the last one that is not padding, but the tokenizer ends texts with its "
            f"padding token {attempt.tokenizer.pad_token!r}; set another tokenizer.pad_token, and export again"
        )
    read = _pooling_of(attempt)
    if read is not None and read != tap.pool:
        can_be = f"train it with pool={read!r}, " if _can_read(attempt, POOLINGS[read](states, mask)) else ""
        return f"reads pool={tap.pool!r}, and {name} reads pool={read!r}; {can_be}{_ELSEWHERE}"
    if not attempt.layers.has_bias:
        return f"has a bias, and neither the output layer of {name} nor its final norm has one; {_ELSEWHERE}"
    before, labels = attempt.layers.before, len(attempt.head.output.bias)
    if len(before) == 1 and 2 * labels > before[0].out_features:
        return (
            f"has {labels} outputs, and the layer with an activation before the output of {name} has room for "
            f"{before[0].out_features // 2}; {_ELSEWHERE}"
        )
    return f"is one linear layer, and {name} transforms the pooled state first; {_ELSEWHERE}"


def _can_read(attempt: Attempt, vectors: Tensor) -> bool:
    """Return whether the class gives the logits of a head like this one that reads these vectors instead."""
    output, vectors = attempt.head.output, vectors.float().cpu()
    if not attempt.layers.has_bias:  # there is one placement for such a class, and it is in place
        wanted = replace(attempt.probe, logits=vectors @ output.weight.T)
        return final_norm(attempt.layers.stack) is not None and _agrees_now(attempt, wanted)
    wanted = replace(attempt.probe, logits=vectors @ output.weight.T + output.bias)
    return any(one.place(attempt.layers, attempt.head) and _agrees_now(attempt, wanted) for one in PLACEMENTS)


def _agrees_now(attempt: Attempt, wanted: Probe) -> bool:
    return wanted.agrees(stock_logits(attempt.model, attempt.tokenizer, wanted))


def _ends_with_padding(attempt: Attempt) -> bool:
    """Return whether the last token of a text is the padding token, and the head reads it."""
    encoded = encode(attempt.tokenizer, attempt.probe.texts)
    last = encoded["attention_mask"].sum(dim=1, keepdim=True) - 1
    ends = encoded["input_ids"].gather(1, last) == attempt.tokenizer.pad_token_id
    return attempt.core.backbone.facts.causal and bool(ends.any())


def _gives_logits(attempt: Attempt, vectors: Tensor) -> bool:
    """Return whether the head's layer on these vectors gives its logits; its bias may be in the final norm already."""
    output = attempt.head.output
    products = vectors.float().cpu() @ output.weight.T
    return attempt.probe.agrees(products + output.bias) or attempt.probe.agrees(products)


def _pooling_of(attempt: Attempt) -> str | None:
    """Return the pooling by which a class computes its logits: the last hidden states that have a gradient."""
    with torch.enable_grad():
        states, mask, logits = _run(attempt)
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(logits.square().sum(), states, allow_unused=True)
    gradient = gradients[0]
    if gradient is None:
        return None
    read = gradient.abs().sum(dim=-1) > 0
    places = torch.arange(mask.shape[1], device=mask.device)
    candidates = {"cls": places == 0, "last": places == mask.sum(dim=1, keepdim=True) - 1, "mean": mask}
    return next((pool for pool, expected in candidates.items() if torch.equal(read, expected.expand_as(read))), None)


def _run(attempt: Attempt) -> tuple[Tensor, Tensor, Tensor]:
    """Return the last hidden states of a classifier's stack, the mask of the probe's texts, and the logits."""
    found: list[Tensor] = []
    encoded = encode(attempt.tokenizer, attempt.probe.texts).to(device_of(attempt.model))
    hook = attempt.layers.stack.register_forward_hook(lambda _module, _, output: found.append(output.last_hidden_state))
    try:
        logits: Tensor = attempt.model(**encoded).logits
    finally:
        hook.remove()
    return found[-1], encoded["attention_mask"].bool(), logits
