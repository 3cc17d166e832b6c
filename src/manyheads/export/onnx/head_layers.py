"""One head inside the graph: its readers and layers, with its bags of terms as one more input."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.export.onnx.columns import dense_layers, first_layer, kept_columns
from manyheads.heads import Head
from manyheads.taps import Lexical, LMLogits, Tap
from manyheads.taps.base import Reader, Wrapper
from manyheads.taps.lm_logits import LMLogitsReader
from manyheads.types import BackboneFacts, Features


class HeadLayers(nn.Module):
    """A copy of a head in fp32 on the CPU.

    Args:
        head: The head.
        facts: The facts about its backbone.
        lm_head: The traceable LM head, if the head reads its logits; see ``LMHead.module``.

    Attributes:
        taps: What it reads inside the graph: everything but bags of terms.
        bag_width: Size of the input that its bags become; 0 if it reads none.
    """

    def __init__(self, head: Head, facts: BackboneFacts, lm_head: nn.Module | None) -> None:
        super().__init__()
        first, kept = first_layer(head), kept_columns(head, facts)
        self.taps = tuple(tap for tap in head.taps if not isinstance(tap, Lexical))
        self.bag_width = first.out_features if len(self.taps) < len(head.taps) else 0
        readers = [
            _reader(reader, lm_head) for tap, reader in zip(head.taps, head.readers, strict=True) if tap in self.taps
        ]
        self.readers = nn.ModuleList(readers)
        self.weight = _fp32(first.weight[:, kept]) if kept else None
        self.bias = _fp32(first.bias)
        self.rest = nn.Sequential(*(copy.deepcopy(layer).cpu().float() for layer in dense_layers(head)[1:]))

    def forward(self, features: Mapping[Tap, Features], bag: Tensor | None) -> Tensor:
        """Return fp32 logits (rows, outputs) or (rows, words, outputs).

        Args:
            features: What its taps read.
            bag: What its bags of terms contribute to the first layer, (rows, width); ``None`` if it reads none.
        """
        vectors = [reader(features[tap].float()) for tap, reader in zip(self.taps, self.readers, strict=True)]
        parts = [F.linear(torch.cat(vectors, dim=-1), self.weight)] if self.weight is not None else []
        parts += [] if bag is None else [bag]
        logits: Tensor = self.rest(sum(parts) + self.bias)
        return logits


class _LMLogits(Reader):
    """``LMLogitsReader`` for any number of rows at once."""

    def __init__(self, lm_head: nn.Module, ids: Tensor) -> None:
        super().__init__()
        self.lm_head = lm_head
        self.register_buffer("ids", ids.detach().cpu().clone())

    def forward(self, features: Features) -> Tensor:
        """Return log-probabilities among the tokens kept, (rows, tokens kept)."""
        logits = self.lm_head(inputs_embeds=features.values.unsqueeze(1), return_dict=True).logits[:, 0]
        return torch.log_softmax(logits[:, cast(Tensor, self.ids)], dim=-1)


def reads_lm_logits(tap: Tap) -> bool:
    """Return whether a tap reads the language model's logits, from a branch or under a prompt too."""
    return reads_lm_logits(tap.reads) if isinstance(tap, Wrapper) else isinstance(tap, LMLogits)


def _reader(reader: nn.Module, lm_head: nn.Module | None) -> nn.Module:
    if isinstance(reader, LMLogitsReader):
        assert lm_head is not None
        return _LMLogits(lm_head, reader.ids)
    return copy.deepcopy(reader).cpu().float()


def _fp32(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().to("cpu", torch.float32).clone(), requires_grad=False)
