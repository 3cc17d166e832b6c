"""The config of an exported classifier: its labels, the kind of its problem, and what the head was."""

from __future__ import annotations

from typing import Any

from manyheads.errors import ExportError, listed
from manyheads.export.linear import ExportedHead
from manyheads.export.origin import origin, output_names
from manyheads.heads import Multiclass, MultiLabel, Regression, Tokens

# Head kind -> transformers' problem type, which decides what a pipeline makes of logits.
_PROBLEMS: dict[type, str | None] = {
    Multiclass: "single_label_classification",
    MultiLabel: "multi_label_classification",
    Regression: "regression",
    Tokens: None,
}


def check_kind(head: ExportedHead) -> None:
    """Check that a pipeline makes of a head's logits what the head does.

    Raises:
        ExportError: it does not.
    """
    spec = head.head.spec
    if type(spec) not in _PROBLEMS:
        raise ExportError(
            f"{head.owner}: a stock classifier has no formula for {spec.owner}, whose scores are neither a softmax nor "
            "a sigmoid of its logits; use the model itself (model.predict)"
        )
    if isinstance(spec, Tokens) and spec.subword != "first":
        raise ExportError(
            f"{head.owner}: reads the mean of each word's tokens, and a stock classifier labels every token; train it "
            "with subword='first'"
        )
    if isinstance(spec, Tokens) and (spec.window or getattr(head.tap, "window", 0)):
        raise ExportError(
            f"{head.owner}: reads the words beside each word, and a stock classifier reads one token; train it with "
            "window=0"
        )
    names = output_names(head)
    if len(set(names)) < len(names):
        raise ExportError(
            f"{head.owner}: its labels are not all different as text, and a stock classifier has text labels: "
            f"{listed(names)}; rename them"
        )


def describe(config: Any, head: ExportedHead) -> None:
    """Write labels, problem type and a note on the head's origin into a config."""
    names = output_names(head)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: position for position, name in enumerate(names)}
    config.problem_type = _PROBLEMS[type(head.head.spec)]
    config.manyheads = origin(head)


def pad(config: Any, tokenizer: Any, causal: bool) -> None:
    """Give a decoder's config the tokenizer's padding token, by which its class finds the last token of a text."""
    if causal or config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
