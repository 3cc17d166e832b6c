"""Mix the tuned weights with the weights before tuning, which keeps most of the gain and loses most of the overfitting.

Symbols (WiSE-FT, Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1)::

    w_0    weights before tuning
    w_1    weights after tuning
    a      share of the tuned weights
    w      mixed weights, (1 - a) w_0 + a w_1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from manyheads.heads import Head, Logits
from manyheads.training.dataset import TrainingData
from manyheads.training.tuning.held_out_rows import held_out_loss

# The shares that are compared, and the share where no rows are held out: what Wortsman et al. recommend without them.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
DEFAULT_SHARE = 0.5


class WeightMixture:
    """The weights before and after tuning, and any mixture of them.

    Both are kept in main memory, which takes twice the bytes of the trained weights.

    Args:
        parameters: Everything that is mixed, with the weights before tuning.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._before = self._copies()
        self._after: list[torch.Tensor] | None = None

    @torch.no_grad()
    def mix(self, share: float) -> None:
        """Set the weights to a mixture; the first call takes the weights as they are for the tuned ones."""
        if self._after is None:
            self._after = self._copies()
        for parameter, before, after in zip(self._parameters, self._before, self._after, strict=True):
            parameter.copy_(before.lerp(after, share))

    @contextmanager
    def mixed_meanwhile(self, share: float) -> Iterator[None]:
        """Mix the weights as they are with those before tuning inside the block, in the middle of a run."""
        now = self._copies()
        with torch.no_grad():
            for parameter, before, current in zip(self._parameters, self._before, now, strict=True):
                parameter.copy_(before.lerp(current, share))
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, current in zip(self._parameters, now, strict=True):
                    parameter.copy_(current)

    def _copies(self) -> list[torch.Tensor]:
        return [parameter.detach().to("cpu", copy=True) for parameter in self._parameters]


def losses_of_shares(
    mixture: WeightMixture,
    evaluate: Callable[[np.ndarray], dict[str, Logits]],
    heads: Mapping[str, Head],
    data: TrainingData,
) -> dict[float, float]:
    """Return the loss of every share on the held-out rows: the sum of the heads' mean losses, weighted as in training.

    Tuned heads are too certain, which their temperature corrects afterwards. So each loss is the one with the
    temperature that is best for it; otherwise a small share would win, and its heads be less accurate.

    Args:
        mixture: Of the weights; changed.
        evaluate: Returns the logits of some rows with the current weights.
        heads: The heads that train.
        data: Contains the held-out rows.
    """
    losses = {}
    for share in SHARES:
        mixture.mix(share)
        losses[share] = _loss(evaluate(data.held_out), heads, data)
    return losses


def _loss(logits: Mapping[str, Logits], heads: Mapping[str, Head], data: TrainingData) -> float:
    return sum(head.spec.loss_weight * held_out_loss(head, logits[name], name, data) for name, head in heads.items())
