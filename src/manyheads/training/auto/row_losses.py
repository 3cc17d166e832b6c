"""The losses of a method on the comparison rows, row by row and on one scale for all kinds of heads.

Symbols and shapes, for n rows::

    t_h    (n,)    summed loss of each row's labelled cells of head h, as in training; 0 without a label
    w_h    (n,)    sum of their weights
    b_h            mean loss of head h for the best constant logits, as of a head that ignores the texts
    l_h    (n,)    n t_h / (b_h sum(w_h))

The mean of ``l_h`` is the head's mean loss as a share of ``b_h``: 1 for a head that has learned nothing. So the mean
over heads does not depend on the units of numbers or on the number of labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from manyheads.deciding.temperature import HIGHEST, LOWEST, least_loss_factor
from manyheads.heads import Head, HeadSpec, Logits
from manyheads.training.dataset import TrainingData
from manyheads.training.solving.head_rows import class_weights_of

# Losses of constant logits below this are those of labels that do not differ.
_LEAST = 1e-9
# An infinite loss, as of a far too large count, is this large, so that differences are numbers.
_MOST = 1e12


class RowLosses:
    """Computes losses on the comparison rows.

    Args:
        heads: The heads; those without a label there are left out.
        data: Its evaluation rows are the comparison rows.
    """

    def __init__(self, heads: Mapping[str, Head], data: TrainingData) -> None:
        targets = {name: data.targets[name].take(data.evaluate) for name in heads}
        self.heads = [name for name, own in targets.items() if len(own.items())]
        self._specs = {name: heads[name].spec for name in self.heads}
        self._targets = {name: targets[name] for name in self.heads}
        trained = {name: data.targets[name].take(data.labelled(name)) for name in self.heads}
        self._class_weights = {name: _double(class_weights_of(heads[name], trained[name])) for name in self.heads}
        self._rows = len(data.evaluate)
        self._constant = {name: self._constant_loss(name) for name in self.heads}

    def mean(self, logits: Mapping[str, Logits]) -> dict[str, float]:
        """Return each head's mean loss, as in training.

        Args:
            logits: Head name -> logits of the comparison rows.
        """
        return {name: float(total.sum() / weight.sum()) for name, (total, weight) in self._terms(logits).items()}

    def shares(self, logits: Mapping[str, Logits]) -> np.ndarray:
        """Return the losses ``l_h`` of all heads, fp64 (heads, rows).

        Args:
            logits: Head name -> logits of the comparison rows.
        """
        rows = [
            self._rows * total / (self._constant[name] * weight.sum())
            for name, (total, weight) in self._terms(logits).items()
        ]
        return np.stack(rows)

    def least_shares(self, logits: Mapping[str, Logits]) -> np.ndarray:
        """Return the losses as ``shares`` does, each head's with the temperature that is best for these rows: in the
        middle of a run the heads have none yet, and tuned heads are too certain without one.

        Args:
            logits: Head name -> logits of the comparison rows.
        """
        return self.shares({name: self._at_best_temperature(name, logits[name]) for name in self.heads})

    def _at_best_temperature(self, name: str, logits: Logits) -> Logits:
        if "temperature" not in self._specs[name].decided_by:
            return logits

        def loss(factor: float) -> float:
            total, weight = self._head_terms(name, logits.scaled(factor))
            return float(total.sum() / weight.sum())

        return logits.scaled(least_loss_factor(loss, len(self._targets[name].items()), 1 / HIGHEST, 1 / LOWEST))

    def _terms(self, logits: Mapping[str, Logits]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return ``t_h`` and ``w_h`` of every head."""
        return {name: self._head_terms(name, logits[name]) for name in self.heads}

    def _head_terms(self, name: str, logits: Logits) -> tuple[np.ndarray, np.ndarray]:
        spec, targets, class_weights = self._specs[name], self._targets[name], self._class_weights[name]
        items = targets.items()
        outputs = torch.from_numpy(targets.item_logits(logits)).double()
        labels = torch.from_numpy(items.targets)
        cells = spec.cell_losses(outputs, labels, class_weights)
        rows = items.rows[cells.rows.numpy()]
        totals, weights = (
            np.bincount(rows, values.numpy(), minlength=self._rows) for values in (cells.losses, cells.weights)
        )
        return np.nan_to_num(totals, nan=_MOST, posinf=_MOST), weights

    def _constant_loss(self, name: str) -> float:
        labels = torch.from_numpy(self._targets[name].items().targets)
        found = constant_loss(self._specs[name], labels, self._class_weights[name])
        return found if found > _LEAST else 1.0


def constant_loss(spec: HeadSpec, targets: Tensor, class_weights: Tensor | None) -> float:
    """Return the mean loss of the best logits that are equal for all items.

    Args:
        spec: Of the head.
        targets: (items, ...) as the loss takes them.
        class_weights: As the loss takes them.
    """
    logits = torch.full((spec.outputs,), spec.initial_bias(targets.numpy()), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        return spec.loss(logits.expand(len(targets), -1), targets, class_weights).mean

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(loss().detach())


def _double(weights: Tensor | None) -> Tensor | None:
    return None if weights is None else weights.double()
