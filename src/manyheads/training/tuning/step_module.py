"""The module that a Trainer trains, its examples, and its learning rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manyheads.core import HeadedCore
from manyheads.core.output import HeadedOutput
from manyheads.data.collate import collate
from manyheads.data.texts.tokenize import Tokenized
from manyheads.features import FeatureSource
from manyheads.features.apply_heads import apply_heads
from manyheads.features.logits import empty_logits
from manyheads.heads import Head, Logits
from manyheads.training.dataset import TrainingData
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.types import Batch

Collate = Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class TuningPlan:
    """Everything that a tuning method trains.

    Attributes:
        module: The module for the trainer.
        rates: Parameter -> peak learning rate, for every parameter that trains.
        collate: From examples of ``TrainingRows`` to the module's tensors.
        evaluate: Returns the logits of some rows by head, with the current weights.
        live: Whether ``evaluate`` and ``predict`` compute the same bits.
        notes: Sentences for the user.
    """

    module: TrainableCore
    rates: Mapping[nn.Parameter, float]
    collate: Collate
    evaluate: Callable[[np.ndarray], dict[str, Logits]]
    live: bool = True
    notes: tuple[str, ...] = ()


class TrainableCore(nn.Module):
    """The core with the signature that a Trainer calls, for some of its heads.

    Args:
        core: The core.
        names: The heads that train.
        parts: The backbone's parts that are in training mode during training, ``None`` for all. All other parts stay in
            eval mode, so that they compute the same as in prediction.
        weighting: Weights of the losses.
    """

    def __init__(
        self, core: HeadedCore, names: Sequence[str], parts: Sequence[nn.Module] | None, weighting: Weighting
    ) -> None:
        super().__init__()
        self.core = core
        self.weighting = weighting
        self._names = list(names)
        self._parts = None if parts is None else tuple(parts)

    def train(self, mode: bool = True) -> TrainableCore:
        """Set the training parts to training mode, and the rest of the backbone to eval mode."""
        super().train(mode)
        if mode and self._parts is not None:
            self.core.backbone.eval()
            for part in self._parts:
                part.train()
        return self

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Mapping[str, Tensor] | None = None,
        heads: Sequence[str] | None = None,
        lm: bool = False,
        replay_input_ids: Tensor | None = None,
        replay_attention_mask: Tensor | None = None,
        word_ids: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> HeadedOutput:
        """Run the core, see ``HeadedCore.forward``; with replay texts, the language model runs on them instead."""
        replaying = lm and replay_input_ids is not None and replay_attention_mask is not None
        batch = Batch(input_ids, attention_mask, token_type_ids, word_ids=word_ids)
        chosen = self._names if heads is None else heads
        output: HeadedOutput = self.core(batch, labels, chosen, lm and not replaying, sample_weight)
        if replaying:
            assert replay_input_ids is not None
            assert replay_attention_mask is not None
            replay = self.core(Batch(replay_input_ids, replay_attention_mask), None, [], lm=True)
            output = replace(output, lm_logits=replay.lm_logits)
        weighted: HeadedOutput = self.weighting(output)
        return weighted


class TrainingRows(torch.utils.data.Dataset[dict[str, Any]]):
    """The training rows as examples."""

    def __init__(self, data: TrainingData, heads: Mapping[str, Head]) -> None:
        self._data = data
        self._labelled = {name: data.targets[name].labelled for name in heads}

    def __len__(self) -> int:
        return len(self._data.train)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self._data.train[index])
        labels = {name: self._data.targets[name][row] for name, known in self._labelled.items() if known[row]}
        inputs = {name: values[row] for name, values in self._data.tokenized.inputs.items()}
        weights = self._data.weights_of(self._data.train[[index]])
        weight = {} if weights is None else {"sample_weight": float(weights[0])}
        return {**inputs, **weight, "labels": labels, "rows": row}


def collate_rows(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collate examples, and add their row numbers for messages."""
    return {**collate(examples), "rows": torch.tensor([example["rows"] for example in examples])}


class Replay:
    """Adds other texts to each batch for the language model's loss, as many as it has rows.

    The choice depends on the batch's rows only, so that a resumed run uses the same texts. With more texts than
    training rows, the order of an epoch determines which texts it uses.

    Args:
        others: The texts.
    """

    def __init__(self, others: Tokenized) -> None:
        self._others = others

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch with ``replay_input_ids`` and ``replay_attention_mask``."""
        rows = np.array([example["rows"] for example in examples], dtype=np.int64)
        start = np.random.default_rng(rows).integers(len(self._others))
        batch = self._others.batch((start + np.arange(len(rows))) % len(self._others))
        return {
            **collate_rows(examples),
            "replay_input_ids": batch.input_ids,
            "replay_attention_mask": batch.attention_mask,
        }


def evaluated(core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, rows: np.ndarray) -> dict[str, Logits]:
    """Return fp32 logits of some rows by a pass of the backbone with its current weights."""
    if not len(rows):
        return empty_logits(heads, data.tokenized, rows)
    source = FeatureSource(core, data.tokenized)
    tables = source.read(core.heads.taps_of(heads), rows)
    return apply_heads(core, tables, heads, rows, data.tokenized)
