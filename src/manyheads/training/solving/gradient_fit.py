"""Fit a head that is not linear, with hidden layers or learned pooling: AdamW on stored features, early stopping."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from manyheads.heads import Head, LossTerms
from manyheads.runtime.progress import progress_bar
from manyheads.training.fit import Alternative, FitResult
from manyheads.training.solving.adamw import parameter_groups
from manyheads.training.solving.best_weights import BestWeights
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.scaling import Scaling

# Rows per batch where the scaling of the vectors is measured.
_MEASURED_ROWS = 256


@dataclass(frozen=True)
class GradientFitter:
    """Fits one head by AdamW.

    Args:
        learning_rate: Of AdamW.
        weight_decay: Of AdamW, on matrices only.
        batch_rows: Rows per step.
        max_epochs: Epochs after which to stop in any case.
        patience: Epochs without a lower held-out loss after which to stop. The best epoch's weights are kept.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_rows: int = 32
    max_epochs: int = 60
    patience: int = 5

    def fit(self, head: Head, training_set: HeadTrainingSet) -> FitResult:
        """Return new weights for a head, which is not changed.

        Training starts from weights drawn with the training set's seed, so that the same data give the same head.
        """
        held_out = training_set.folds == 0
        train_rows, held_out_rows = training_set.rows[~held_out], training_set.rows[held_out]
        history: list[dict[str, float]] = []
        with torch.random.fork_rng(devices=[]), progress_bar("Training a head", self.max_epochs, "epochs") as advance:
            torch.manual_seed(training_set.seed)
            scaled = _StandardizedHead(head, training_set)
            rates = dict.fromkeys(scaled.parameters(), self.learning_rate)
            optimizer = torch.optim.AdamW(parameter_groups(rates, self.weight_decay), lr=self.learning_rate)
            best = BestWeights(scaled.parameters())
            for epoch in range(1, self.max_epochs + 1):
                loss = self._epoch(scaled, train_rows[torch.randperm(len(train_rows)).numpy()], optimizer)
                held_out_loss = scaled.mean_loss(held_out_rows, self.batch_rows)
                history.append({"epoch": epoch, "loss": loss, "held_out_loss": held_out_loss})
                if held_out_loss < math.inf:
                    best.update(epoch, -held_out_loss)
                advance(1)
                if best.is_stale(epoch, self.patience):
                    break
        best.restore()
        settings = {"epochs": float(best.epoch), "learning_rate": self.learning_rate}
        out_of_fold = np.full((len(training_set.rows), head.spec.outputs), np.nan, dtype=np.float32)
        out_of_fold[held_out] = scaled.logits(held_out_rows, self.batch_rows)
        alternatives = [Alternative(head.taps, settings, -best.score)]
        return FitResult(scaled.folded(), settings, alternatives, history, out_of_fold)

    def _epoch(self, scaled: _StandardizedHead, rows: np.ndarray, optimizer: torch.optim.Optimizer) -> float:
        """Step once through the rows in this order, and return the mean loss."""
        scaled.train()
        total = weight = 0.0
        for start in range(0, len(rows), self.batch_rows):
            terms = scaled.loss_terms(rows[start : start + self.batch_rows])
            if not terms.count:
                continue
            optimizer.zero_grad()
            terms.mean.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, weight = total + float(terms.total.detach()), weight + float(terms.weight)
        return total / weight


class _StandardizedHead(nn.Module):
    """A copy of a head, freshly initialized, on standardized vectors and, for regression, standardized targets.

    The readers' output is standardized, not the features, so that the scaling can be folded into the first fully
    connected layer afterwards.
    """

    def __init__(self, head: Head, training_set: HeadTrainingSet) -> None:
        super().__init__()
        self.head = copy.deepcopy(head).cpu()
        self.training_set = training_set
        self._initialize()
        self.target_mean, self.target_deviation = _target_moments(head, training_set)
        self.scaling = self._measured_scaling()

    def forward(self, rows: np.ndarray) -> Tensor:
        head, vectors = self.head, self._vectors(rows)
        logits: Tensor = head.output(head.dropout(head.trunk(self.scaling.apply(vectors))))
        return logits

    def loss_terms(self, rows: np.ndarray) -> LossTerms:
        targets = torch.from_numpy(self.training_set.targets[rows])
        if targets.is_floating_point():
            targets = (targets - self.target_mean) / self.target_deviation
        given = self.training_set.sample_weight
        sample_weight = None if given is None else given[torch.from_numpy(rows)]
        return self.head.spec.loss(self(rows), targets, self.training_set.class_weights, sample_weight)

    def mean_loss(self, rows: np.ndarray, batch_rows: int) -> float:
        self.eval()
        with torch.no_grad():
            terms = [self.loss_terms(rows[start : start + batch_rows]) for start in range(0, len(rows), batch_rows)]
        return sum(float(part.total) for part in terms) / sum(float(part.weight) for part in terms)

    def logits(self, rows: np.ndarray, batch_rows: int) -> np.ndarray:
        """Return the head's logits (rows, outputs); call it before ``folded``."""
        self.eval()
        with torch.no_grad():
            parts = [self(rows[start : start + batch_rows]) for start in range(0, len(rows), batch_rows)]
        found: np.ndarray = (torch.cat(parts) * self.target_deviation + self.target_mean).numpy()
        return found

    def folded(self) -> dict[str, Tensor]:
        """Return the head's state for raw vectors and targets; call it once, it changes the weights."""
        first = next(module for module in [*self.head.trunk, self.head.output] if isinstance(module, nn.Linear))
        with torch.no_grad():
            first.weight.div_(self.scaling.deviation)
            first.bias.sub_(first.weight @ self.scaling.mean)
            self.head.output.weight *= self.target_deviation
            self.head.output.bias.mul_(self.target_deviation).add_(self.target_mean)
        return {name: tensor.clone() for name, tensor in self.head.state_dict().items()}

    def _initialize(self) -> None:
        for layer in [*self.head.trunk, self.head.output]:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        nn.init.constant_(self.head.output.bias, self.head.spec.initial_bias(self.training_set.targets))
        for parameter in self.head.readers.parameters():
            # Neutral values: one for a scale (a scalar), zero for every other parameter of a reader.
            nn.init.ones_(parameter) if parameter.dim() == 0 else nn.init.zeros_(parameter)

    def _vectors(self, rows: np.ndarray) -> Tensor:
        features = self.training_set.features(rows)
        parts = [reader(item) for reader, item in zip(self.head.readers, features, strict=True)]
        return torch.cat(parts, dim=-1)

    def _measured_scaling(self) -> Scaling:
        rows = self.training_set.rows
        with torch.no_grad():
            parts = [
                self._vectors(rows[start : start + _MEASURED_ROWS]) for start in range(0, len(rows), _MEASURED_ROWS)
            ]
        return Scaling.of(torch.cat(parts))


def _target_moments(head: Head, training_set: HeadTrainingSet) -> tuple[float, float]:
    """Return the mean and standard deviation of regression targets, else 0 and 1."""
    if not head.spec.squared_error:
        return 0.0, 1.0
    targets = training_set.targets.astype(np.float64)
    deviation = float(targets.std())
    return float(targets.mean()), deviation if deviation > 0 else 1.0
