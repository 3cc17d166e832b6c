"""Initialize a head's output layer from the LM head's rows for the words of its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from manyheads.backbone import Backbone
from manyheads.backbone.stack.probe import evaluating
from manyheads.backbone.stack.prompts import PromptTokenizer
from manyheads.errors import BackboneError, HeadError
from manyheads.heads import Head, LabelledSpec
from manyheads.taps import BackboneTap, Hidden, Prompted, Tap
from manyheads.taps.base import Wrapper
from manyheads.types import Batch

# Only a word's first piece can be the next token; each later piece has this fraction of the weight of the one before.
_LATER_PIECE = 0.25

# The token ids of one label: per word, its pieces.
Pieces = Sequence[Sequence[int]]


def start_from_lm_head(backbone: Backbone, head: Head) -> None:
    """Set each label's weights to the LM head's mean row for its words.

    A head on the last layer at the end of the text then computes the language model's logits of the next token,
    averaged by label. A zero-shot head's bias is minus the logits of an empty text (contextual calibration).

    Raises:
        HeadError: the head does not read the LM head's input, or the backbone has no such LM head or no tokenizer.
    """
    position = _lm_input_position(backbone, head)
    spec = cast(LabelledSpec, head.spec)
    tokenizer = backbone.prompt_tokenizer
    if tokenizer is None:
        raise HeadError(f"{spec.owner}: init='lm_head' needs a tokenizer for the labels; wrap the model with one")
    labels = [[pieces for word in words for pieces in tokenizer.word_pieces(word)] for words in spec.label_words_of]
    _check_distinct(spec, labels)
    try:
        rows = label_rows(backbone.lm_head.output_embeddings(), labels)
    except BackboneError as error:
        raise HeadError(f"{spec.owner}: init='lm_head': {error}") from error
    widths = [tap.width(backbone.facts) for tap in head.taps]
    start = sum(widths[:position])
    weight = torch.zeros_like(head.output.weight)
    weight[:, start : start + widths[position]] = rows
    with torch.no_grad():
        head.output.weight.copy_(weight)
        head.output.bias.zero_()
        if spec.needs_no_training:
            head.output.bias.copy_(-_empty_text_features(backbone, tokenizer, head, position) @ rows.T)


def label_rows(rows: Tensor, labels: Sequence[Pieces]) -> Tensor:
    """Return one row per label (labels, width), in fp32 and with zero mean over the labels.

    A label's row is the weighted mean of the rows of its words' tokens. As in a length-normalized score, long names
    have no advantage. A token's weight is divided by the number of labels that contain it, as it does not distinguish
    them.

    Args:
        rows: The LM head's output embeddings (vocabulary, width).
        labels: Per label, per word, the token ids of the word's pieces.
    """
    label_counts = Counter(token for words in labels for token in {piece for word in words for piece in word})
    means = torch.stack([_label_mean(rows, words, label_counts) for words in labels])
    return means - means.mean(dim=0)


def _label_mean(rows: Tensor, words: Pieces, label_counts: Counter[int]) -> Tensor:
    weighted = [
        (piece, _LATER_PIECE**position / label_counts[piece]) for word in words for position, piece in enumerate(word)
    ]
    weights = torch.tensor([weight for _, weight in weighted], device=rows.device)
    picked = rows[torch.tensor([piece for piece, _ in weighted], device=rows.device)].float()
    return weights @ picked / weights.sum()


def _check_distinct(spec: LabelledSpec, labels: Sequence[Pieces]) -> None:
    """Raise if the tokenizer encodes a label as nothing, or two labels alike: their scores would always be equal."""
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
                f"{spec.owner}: init='lm_head': the tokenizer encodes {other!r} and {label!r} alike; give them "
                "different words with label_words={...}"
            )


def _lm_input_position(backbone: Backbone, head: Head) -> int:
    """Return the position, among a head's taps, of the one that reads the LM head's input."""
    owner, facts = head.spec.owner, backbone.facts
    positions = [position for position, tap in enumerate(head.taps) if _is_last_layer(tap)]
    if facts.lm_head is None:
        raise HeadError(f"{owner}: init='lm_head': {facts.name} has no LM head that reads the last layer's states")
    if len(positions) != 1 or not head.linear:
        reads = " + ".join(map(str, head.taps))
        raise HeadError(
            f"{owner}: init='lm_head' needs exactly one tap of the last layer, such as Hidden() or "
            f"Hidden(prompt=...), without learned pooling and without normalize, got {reads}"
        )
    if head.spec.needs_no_training and not facts.causal:
        raise HeadError(
            f"{owner}: zero_shot needs a model that predicts the next token, which {facts.name} does not; train the "
            "head"
        )
    return positions[0]


def _is_last_layer(tap: Tap) -> bool:
    while isinstance(tap, Wrapper):
        tap = tap.reads
    return isinstance(tap, Hidden) and tap.layer == -1 and tap.pool != "pooler" and not tap.normalize


def _empty_text_features(backbone: Backbone, tokenizer: PromptTokenizer, head: Head, position: int) -> Tensor:
    """Return a tap's features (width,) of an empty text, or of the prompt alone if the tap has one."""
    tap = head.taps[position]
    assert isinstance(tap, BackboneTap)
    prompted = isinstance(tap, Prompted) and backbone.templates(tap.request(backbone.facts))[tap.prompt].added > 0
    ids = torch.tensor([[0] if prompted else tokenizer.empty_text()], device=backbone.device)
    mask = torch.zeros_like(ids) if prompted else torch.ones_like(ids)
    with evaluating(backbone), evaluating(head):
        states, _ = backbone(Batch(ids, mask), tap.request(backbone.facts))
        features: Tensor = head.readers[position](tap.read(states).float())
    return features[0]
