"""The output of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils.generic import ModelOutput


@dataclass
class HeadedOutput(ModelOutput):  # type: ignore[misc]
    """The output of a forward pass.

    Attributes:
        loss: Sum over heads of ``loss_weight`` times loss, (); ``None`` without labels.
        losses: Head name -> mean loss over its labelled cells, ().
        counts: Head name -> number of labelled cells.
        weights: Head name -> sum of the labelled cells' weights, (); each loss is a total divided by it.
        logits: Head name -> logits (rows, outputs) in fp32; for a token head (rows, words, outputs), or (rows, tokens,
            outputs) in the caller's layout without ``word_ids``.
        lm_logits: The language model's logits (rows, tokens, vocabulary) in the caller's layout, if requested.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    counts: dict[str, int] | None = None
    weights: dict[str, Tensor] | None = None
    logits: dict[str, Tensor] | None = None
    lm_logits: Tensor | None = None
