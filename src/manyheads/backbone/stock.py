"""Convert the trained head of a stock ``...ForSequenceClassification`` checkpoint to a manyheads head.

The pooling is not inferred from the class's name: each pooling is tried on a few tokens, and the one that reproduces
the stock model's logits is chosen.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from manyheads.backbone.backbone import Backbone
from manyheads.backbone.stack.probe import evaluating, forward_arguments
from manyheads.errors import HeadError, PoolerError, UnsupportedHeadError
from manyheads.heads import Head, HeadSpec, Multiclass, MultiLabel, Regression
from manyheads.taps import Hidden
from manyheads.types import Batch

NAME = "classifier"
_SUFFIX = "ForSequenceClassification"
_POOLS = ("pooler", "last", "cls", "mean")
_TOLERANCE = 1e-4


def has_stock_head(backbone: Backbone) -> bool:
    """Return whether the backbone is a stock sequence classifier."""
    return backbone.name.endswith(_SUFFIX)


def stock_head(backbone: Backbone) -> Head:
    """Return the stock classifier's head as a trained manyheads head with the same weights.

    Raises:
        UnsupportedHeadError: the stock head is not one linear layer on a pooled state.
    """
    model = backbone.model
    layer = _linear(model)
    if layer is not None:
        expected, batch = _stock_logits(backbone)
        for pool in _POOLS:
            head = _candidate(backbone, layer, pool)
            if head is not None and _agrees(backbone, head, batch, expected):
                head.trained = True
                return head.eval()
    raise UnsupportedHeadError(
        f"{backbone.name}: its head is not one linear layer on a pooled state, so it cannot be converted; load the "
        "model without it (AutoModel.from_pretrained) and pass that to HeadedModel.wrap"
    )


def _linear(model: nn.Module) -> nn.Linear | None:
    for name in ("classifier", "score"):
        layer = getattr(model, name, None)
        if isinstance(layer, nn.Linear):
            return layer
    return None


def _spec(config: Any, pool: str) -> HeadSpec:
    labels = [config.id2label[position] for position in range(config.num_labels)]
    reads = Hidden(pool=pool)
    if config.problem_type == "regression" or len(labels) == 1:
        return Regression(reads=reads)
    if config.problem_type == "multi_label_classification":
        return MultiLabel(labels=labels, reads=reads)
    return Multiclass(labels=labels, reads=reads)


def _candidate(backbone: Backbone, layer: nn.Linear, pool: str) -> Head | None:
    spec = _spec(backbone.model.config, pool)
    try:
        taps = [tap.resolve(backbone.facts) for tap in spec.taps]
    except (HeadError, PoolerError):
        return None
    head = Head(spec, taps, backbone.facts).to(backbone.device)
    if head.output.weight.shape != layer.weight.shape:
        return None
    with torch.no_grad():
        head.output.weight.copy_(layer.weight)
        if layer.bias is not None:
            head.output.bias.copy_(layer.bias)
    return head


def _stock_logits(backbone: Backbone) -> tuple[Tensor, Batch]:
    """Return the stock model's logits for one row without padding, and the row."""
    vocabulary = backbone.vocabulary_size
    ids = torch.tensor([[vocabulary // 2, vocabulary // 3, vocabulary // 5, vocabulary // 7]], device=backbone.device)
    batch = Batch(input_ids=ids, attention_mask=torch.ones_like(ids))
    settings = {"use_cache": False} if "use_cache" in forward_arguments(backbone.model) else {}
    with evaluating(backbone.model):
        output = backbone.model(**batch.inputs(), **settings)
    return cast(Tensor, output.logits), batch


def _agrees(backbone: Backbone, head: Head, batch: Batch, expected: Tensor) -> bool:
    with evaluating(backbone):
        (tap,) = head.backbone_taps
        states, _ = backbone(batch, tap.request(backbone.facts))
        logits = head(head.features({tap: tap.read(states)}))
    scale = float(expected.abs().max()) or 1.0
    return bool((logits - expected.float()).abs().max() <= _TOLERANCE * scale)
