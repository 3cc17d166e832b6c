"""Training rows that are not trained on: what is chosen by few numbers is chosen on them, last of all the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from manyheads.data.split import split_by_text
from manyheads.deciding.after_training import decide
from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.temperature import HIGHEST, LOWEST, TemperatureFit, least_loss_factor
from manyheads.heads import Decision, Head, Logits
from manyheads.training.dataset import TrainingData, row_classes

# The fewest and the most of them: fewer tell little, more are better trained on.
MIN_ROWS, MAX_ROWS = 20, 500


def holding_out(data: TrainingData, fraction: float) -> TrainingData:
    """Return the data with a share of the training rows held out, at most 500 rows; without any if they are fewer than
    20. Equal texts are on one side, and every class keeps a text to train on.

    Args:
        data: All rows.
        fraction: Share of the training rows, from 0 to below 1.
    """
    fraction = min(fraction, MAX_ROWS / max(len(data.train), 1))
    if fraction * len(data.train) < MIN_ROWS:
        return data
    texts = [data.texts[row] for row in data.train]
    train, held_out = split_by_text(texts, fraction, data.seed, row_classes(data.targets, data.train))
    return replace(data, train=data.train[train], held_out=data.train[held_out])


def held_out_of(data: TrainingData, name: str, logits: Logits) -> HeldOut:
    """Return a head's labelled items of the held-out rows.

    Args:
        data: Contains the held-out rows.
        name: The head's name.
        logits: Its logits of the held-out rows.
    """
    targets = data.targets[name].take(data.held_out)
    items = targets.items()
    rows = data.held_out[items.rows]
    texts = [data.texts[row] for row in rows]
    return HeldOut(targets.item_logits(logits), items.targets, texts, data.weights_of(rows))


def decide_on_held_out(
    heads: Mapping[str, Head], data: TrainingData, logits: Mapping[str, Logits]
) -> dict[str, tuple[Decision, TemperatureFit | None]]:
    """Return each head's decision, fitted to the held-out rows, and how its temperature was found.

    Args:
        heads: The heads, with new weights and the decision of their start.
        data: Contains the held-out rows.
        logits: Head name -> logits of these rows.
    """
    return {
        name: decide(head.spec, held_out_of(data, name, logits[name]), head.decision, data.seed)
        for name, head in heads.items()
    }


def held_out_losses(head: Head, logits: Logits, name: str, data: TrainingData) -> tuple[HeldOut, np.ndarray]:
    """Return a head's labelled items of the held-out rows, and the loss of each, fp64 (items,); with the best
    temperature, if the head has one.

    The losses have the head's class weights, and their mean with the items' weights is the training loss.

    Args:
        head: The head.
        logits: Its logits of the held-out rows.
        name: Its name.
        data: Contains the held-out rows.
    """
    held_out = held_out_of(data, name, logits)
    if not len(held_out):
        return held_out, np.empty(0)
    items, outputs = torch.from_numpy(held_out.targets), torch.from_numpy(held_out.logits).double()
    sample_weight = None if held_out.weights is None else torch.from_numpy(held_out.weights)
    weights = head.loss_weights(name)
    class_weights = None if weights is None else weights.double().cpu()

    def loss(factor: float) -> float:
        return float(head.spec.loss(outputs * factor, items, class_weights, sample_weight).mean)

    calibrated = "temperature" in head.spec.decided_by
    factor = least_loss_factor(loss, len(held_out), 1 / HIGHEST, 1 / LOWEST) if calibrated else 1.0
    cells = head.spec.cell_losses(outputs * factor, items, class_weights)
    found, total = (
        np.bincount(cells.rows.numpy(), values.numpy(), minlength=len(held_out))
        for values in (cells.losses, cells.weights)
    )
    return held_out, found / held_out.mean(total)


def held_out_loss(head: Head, logits: Logits, name: str, data: TrainingData) -> float:
    """Return a head's mean loss on the held-out rows, 0 without any; see ``held_out_losses``."""
    held_out, losses = held_out_losses(head, logits, name, data)
    return held_out.mean(losses) if len(held_out) else 0.0
