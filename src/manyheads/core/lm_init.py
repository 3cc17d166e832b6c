"""How a head's output layer starts where the language model already knows its labels' words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from manyheads.backbone import Backbone
from manyheads.backbone.stack.stack import evaluating
from manyheads.errors import BackboneError, HeadError
from manyheads.heads import Head, LabelledSpec, Multiclass
from manyheads.taps import Hidden, Prompted, Tap
from manyheads.taps.base import Wrapper
from manyheads.types import Batch

# Of a word's pieces, only the first can be the next token; each later one counts this much less than the one before.
_LATER_PIECE = 0.25

Pieces = Sequence[Sequence[int]]


def start_from_lm_head(backbone: Backbone, head: Head) -> None:
    """Let each label's row be the LM head's rows of its words; a zero-shot head's bias, what an empty text gets.

    The logits of a head that reads the last layer at the text's end then are the language model's own, for the next
    token, brought together by label.

    Raises:
        HeadError: the head reads nothing that the LM head's rows fit, or the backbone has no such rows or no tokenizer.
    """
    place = _place(backbone, head)
    spec = cast(LabelledSpec, head.spec)
    if backbone.prompt_tokenizer is None:
        raise HeadError(
            f"{spec.owner}: init='lm_head' looks labels up in the tokenizer, and there is none; wrap it too"
        )
    prompt_tokenizer = backbone.prompt_tokenizer
    labels = [[pieces for word in words for pieces in prompt_tokenizer.word(word)] for words in spec.label_words_of]
    _check_apart(spec, labels)
    try:
        rows = label_rows(backbone.lm_head.rows(), labels)
    except BackboneError as error:
        raise HeadError(f"{spec.owner}: init='lm_head': {error}") from error
    widths = [tap.width(backbone.facts) for tap in head.taps]
    start = sum(widths[:place])
    weight = torch.zeros_like(head.output.weight)
    weight[:, start : start + widths[place]] = rows
    with torch.no_grad():
        head.output.weight.copy_(weight)
        head.output.bias.zero_()
        if isinstance(spec, Multiclass) and spec.zero_shot:
            head.output.bias.copy_(-_of_empty_text(backbone, head, place) @ rows.T)


def _check_apart(spec: LabelledSpec, labels: Sequence[Pieces]) -> None:
    """Refuse labels of which the tokenizer makes nothing, or the same: they would always get the same score."""
    first: dict[str, object] = {}
    for label, pieces in zip(spec.labels, labels, strict=True):
        if not any(pieces):
            raise HeadError(
                f"{spec.owner}: init='lm_head': the tokenizer has no token for label {label!r}; give it words with "
                "label_words={...}"
            )
        other = first.setdefault(repr(sorted(tuple(word) for word in pieces)), label)
        if other != label:
            raise HeadError(
                f"{spec.owner}: init='lm_head': to the tokenizer, {label!r} and {other!r} are the same words; tell "
                "them apart with label_words={...}"
            )


def _place(backbone: Backbone, head: Head) -> int:
    """Return which of a head's taps reads states that the LM head's rows fit."""
    owner, facts = head.spec.owner, backbone.facts
    fitting = [place for place, tap in enumerate(head.taps) if _is_last_layer(tap)]
    if facts.lm_head is None:
        raise HeadError(f"{owner}: init='lm_head': {facts.name} has no LM head that reads the last layer's states")
    if len(fitting) != 1 or not head.linear:
        reads = " + ".join(map(str, head.taps))
        raise HeadError(
            f"{owner}: init='lm_head' fits one tap of the last layer, such as Hidden() or Hidden(prompt=...), and none "
            f"that learns to read, got {reads}"
        )
    if isinstance(head.spec, Multiclass) and head.spec.zero_shot and not facts.causal:
        raise HeadError(
            f"{owner}: zero_shot asks for the next token, which {facts.name} does not predict; train the head"
        )
    return fitting[0]


def _is_last_layer(tap: Tap) -> bool:
    while isinstance(tap, Wrapper):
        tap = tap.reads
    return isinstance(tap, Hidden) and tap.layer == -1 and tap.pool != "pooler"


def _of_empty_text(backbone: Backbone, head: Head, place: int) -> Tensor:
    """Return what a head's tap reads (width,) of an empty text; with a prompt around it, of the prompt alone."""
    assert backbone.prompt_tokenizer is not None
    tap = head.taps[place]
    asked = isinstance(tap, Prompted) and backbone.templates(tap.request(backbone.facts))[tap.prompt].added > 0
    ids = torch.tensor([[0] if asked else backbone.prompt_tokenizer.empty()], device=backbone.device)
    mask = torch.zeros_like(ids) if asked else torch.ones_like(ids)
    with evaluating(backbone), evaluating(head):
        states, _ = backbone(Batch(ids, mask), tap.request(backbone.facts))
        read: Tensor = head.readers[place](tap.read(states).float())
    return read[0]


def label_rows(rows: Tensor, labels: Sequence[Pieces]) -> Tensor:
    """Return one row per label (labels, width), fp32, their mean at zero.

    A label's row is the weighted mean of the LM head's rows for the tokens of its words: as in a length-normalised
    score, long names have no advantage. A token that several labels hold is shared out between them, since it tells
    none of them from the others.

    Args:
        rows: The LM head's (vocabulary, width).
        labels: Per label, per word, the token ids of the word's pieces.
    """
    held = Counter(token for words in labels for token in {piece for word in words for piece in word})
    means = torch.stack([_mean(rows, words, held) for words in labels])
    return means - means.mean(dim=0)


def _mean(rows: Tensor, words: Pieces, held: Counter[int]) -> Tensor:
    weighed = [(piece, _LATER_PIECE**place / held[piece]) for word in words for place, piece in enumerate(word)]
    weights = torch.tensor([weight for _, weight in weighed], device=rows.device)
    picked = rows[torch.tensor([piece for piece, _ in weighed], device=rows.device)].float()
    return weights @ picked / weights.sum()
