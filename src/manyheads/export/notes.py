"""What an export folds into weights, and what it leaves out, in sentences for the model card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manyheads.core import HeadedCore
from manyheads.export.linear import ExportedHead
from manyheads.export.probe import TOLERANCE, Probe
from manyheads.export.stack import block_count
from manyheads.export.tokenizer import pads_with_end

# Settings of a decision that no other library applies, and what they do.
_LEFT_OUT = {
    "abstain_below": "abstention",
    "set_threshold": "prediction sets",
    "costs": "costs of answers",
}


def notes_on(core: HeadedCore, head: ExportedHead, tokenizer: Any, probe: Probe) -> list[str]:
    """Return the notes that hold for every format."""
    return [*_folded(core, head), *_left_out(head), *_about_use(core, head, tokenizer, probe)]


def _folded(core: HeadedCore, head: ExportedHead) -> Iterator[str]:
    if head.temperature != 1.0:
        yield (
            f"The temperature {head.temperature:.6g} is folded into the output layer, so that scores are the "
            "calibrated ones."
        )
    blocks = block_count(core)
    if head.layer != -1:
        yield f"The head reads layer {head.layer}, so only {blocks + 1 + head.layer} of {blocks} blocks are exported."
    if head.branch is not None:
        yield f"The weights are those of {head.branch!r}, which the head was tuned with, not the language model's own."


def _left_out(head: ExportedHead) -> Iterator[str]:
    decision = head.head.decision
    if decision.thresholds is not None:
        yield (
            "The thresholds of the labels are not applied, since they change no score. They are in `config.json`, "
            "under `manyheads`: predict each label whose score reaches its threshold."
        )
    absent = [meaning for setting, meaning in _LEFT_OUT.items() if setting in decision.settings]
    if absent:
        yield f"The decision's {' and '.join(absent)} exist in manyheads only and are left out."
    if head.head.spec.has_spans:
        yield "manyheads joins the tags of words to the best sequence; a pipeline takes each word's best tag."


def _about_use(core: HeadedCore, head: ExportedHead, tokenizer: Any, probe: Probe) -> Iterator[str]:
    if core.backbone.facts.causal and pads_with_end(tokenizer):
        yield f"Padding is the token {tokenizer.pad_token!r}, which also ends documents: a text must not end with it."
    if probe.drift > TOLERANCE:
        yield (
            "Weights are fp32. manyheads itself answers in another precision: on the compared texts, its logits "
            f"differ by up to {probe.drift:.2g}, where the largest one is {probe.scale:.2g}."
        )
