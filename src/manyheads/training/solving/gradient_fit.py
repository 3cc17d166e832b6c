"""Fit a head with hidden layers or a learned reading of tokens or layers: AdamW on stored features, early stopping."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from manyheads.heads import Head, LossTerms, Regression
from manyheads.runtime.progress import progress_bar
from manyheads.training.fit import Alternative, HeadFit
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.scaling import Scaling

# Rows whose vectors are measured at once.
_MEASURED = 256


@dataclass(frozen=True)
class GradientFitter:
    """Fits one head by steps.

    Args:
        learning_rate: AdamW's.
        weight_decay: AdamW's, on matrices only.
        batch_rows: Rows per step.
        most_epochs: An end in any case.
        patience: Epochs without a better held-out loss after which to stop; the best epoch's weights are kept.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_rows: int = 32
    most_epochs: int = 60
    patience: int = 5

    def fit(self, head: Head, rows: HeadTrainingSet) -> HeadFit:
        """Return the head's new weights; the head itself is not changed.

        The weights start anew, from the seed, so that the same data give the same head.
        """
        held_out = rows.folds == 0
        kept, watched = rows.all[~held_out], rows.all[held_out]
        best = _Best()
        history: list[dict[str, float]] = []
        with torch.random.fork_rng(devices=[]), progress_bar("Training a head", self.most_epochs, "epochs") as advance:
            torch.manual_seed(rows.seed)
            scaled = _Scaled(head, rows)
            optimiser = torch.optim.AdamW(_groups(scaled, self.weight_decay), lr=self.learning_rate)
            for epoch in range(1, self.most_epochs + 1):
                loss = self._epoch(scaled, kept[torch.randperm(len(kept)).numpy()], optimiser)
                watched_loss = scaled.mean_loss(watched, self.batch_rows)
                history.append({"epoch": epoch, "loss": loss, "held_out_loss": watched_loss})
                best.see(epoch, watched_loss, scaled)
                advance(1)
                if epoch - best.epoch >= self.patience:
                    break
        scaled.load_state_dict(best.state)
        settings = {"epochs": float(best.epoch), "learning_rate": self.learning_rate}
        return HeadFit(scaled.folded(), settings, [Alternative(head.taps, settings, best.loss)], history)

    def _epoch(self, scaled: _Scaled, order: np.ndarray, optimiser: torch.optim.Optimizer) -> float:
        scaled.train()
        total = weight = 0.0
        for start in range(0, len(order), self.batch_rows):
            terms = scaled.terms(order[start : start + self.batch_rows])
            if not terms.count:
                continue
            optimiser.zero_grad()
            terms.mean.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total, weight = total + float(terms.total.detach()), weight + float(terms.weight)
        return total / weight


class _Best:
    """The best epoch so far."""

    def __init__(self) -> None:
        self.epoch, self.loss = 0, float("inf")
        self.state: dict[str, Tensor] = {}

    def see(self, epoch: int, loss: float, module: nn.Module) -> None:
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.state = {name: tensor.clone() for name, tensor in module.state_dict().items()}


class _Scaled(nn.Module):
    """A copy of a head that sees standardised vectors and, for regression, predicts a standardised value.

    Standardising happens behind the readers, on the vector that the first fully connected layer takes, so that it can
    be folded into that layer afterwards.
    """

    def __init__(self, head: Head, rows: HeadTrainingSet) -> None:
        super().__init__()
        self.head = copy.deepcopy(head).cpu()
        self._restart()
        self.rows = rows
        self.offset, self.factor = _target_scale(head, rows)
        self.scaling = self._measured()

    def forward(self, index: np.ndarray) -> Tensor:
        head, vectors = self.head, self._vectors(index)
        logits: Tensor = head.output(head.dropout(head.trunk(self.scaling.apply(vectors))))
        return logits

    def terms(self, index: np.ndarray) -> LossTerms:
        targets = torch.from_numpy(self.rows.targets[index])
        if targets.is_floating_point():
            targets = (targets - self.offset) / self.factor
        return self.head.spec.loss(self(index), targets, self.rows.class_weights)

    def mean_loss(self, index: np.ndarray, batch_rows: int) -> float:
        self.eval()
        with torch.no_grad():
            parts = [self.terms(index[start : start + batch_rows]) for start in range(0, len(index), batch_rows)]
        return sum(float(part.total) for part in parts) / sum(float(part.weight) for part in parts)

    def folded(self) -> dict[str, Tensor]:
        """Return the head's state for vectors and values as they are."""
        first = next(module for module in [*self.head.trunk, self.head.output] if isinstance(module, nn.Linear))
        with torch.no_grad():
            first.weight.div_(self.scaling.deviation)
            first.bias.sub_(first.weight @ self.scaling.mean)
            self.head.output.weight *= self.factor
            self.head.output.bias.mul_(self.factor).add_(self.offset)
        return {name: tensor.clone() for name, tensor in self.head.state_dict().items()}

    def _restart(self) -> None:
        for layer in [*self.head.trunk, self.head.output]:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        nn.init.zeros_(self.head.output.bias)
        for parameter in self.head.readers.parameters():
            # Zeros are every reader's neutral start, but for a scale, which begins at one.
            nn.init.ones_(parameter) if parameter.dim() == 0 else nn.init.zeros_(parameter)

    def _vectors(self, index: np.ndarray) -> Tensor:
        features = self.rows.features(index)
        parts = [reader(item) for reader, item in zip(self.head.readers, features, strict=True)]
        return torch.cat(parts, dim=-1)

    def _measured(self) -> Scaling:
        every = self.rows.all
        with torch.no_grad():
            parts = [self._vectors(every[start : start + _MEASURED]) for start in range(0, len(every), _MEASURED)]
        return Scaling.of(torch.cat(parts))


def _target_scale(head: Head, rows: HeadTrainingSet) -> tuple[float, float]:
    if not isinstance(head.spec, Regression):
        return 0.0, 1.0
    targets = rows.targets.astype(np.float64)
    deviation = float(targets.std())
    return float(targets.mean()), deviation if deviation > 0 else 1.0


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    matrices = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in module.parameters() if parameter.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
