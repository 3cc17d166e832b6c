"""Fit the temperature of a head (temperature scaling, Guo et al. 2017, section 4.2).

Symbols and shapes, for n items that the head was not trained on::

    z_i    (outputs,)   logits
    y_i                 label, labels, or shares of labels
    w_i                 weight, 1 by default
    T                   temperature
    p_i    (labels,)    scores of the logits z_i / T
    l_i(T)              log loss, -log p_i[y_i], summed over the labels of a multi-label head

The fitted temperature has the least ``sum_i w_i l_i(T) / sum_i w_i + log(T)^2 / 2n``. The second term is a normal prior
of its logarithm, with standard deviation one, and counts like one more item: a few items that are all right do not make
a head certain.

It is used only where items that it was not fitted to show that it helps by more than its own error costs. For each of
``FOLDS`` folds it is fitted to the others, T_(-f), and the gain of an item is ``l_i(1) - l_i(T_(-f))``. The mean gain,
which the error of T_(-f) has lowered already, must be above 0. A gain of more than its standard error would be too much
to ask of 200 rows: most heads whose right temperature is 1.15 would keep 1 (``benchmarks/RESULTS.md``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from manyheads.deciding.held_out import HeldOut
from manyheads.heads import HeadSpec, LabelledSpec

FOLDS = 5
# With fewer texts the temperature is 1.
MIN_TEXTS = 20
# The smallest and the largest temperature, and the precision of its logarithm.
LOWEST, HIGHEST = 0.05, 20.0
_PRECISION = 1e-3


@dataclass(frozen=True)
class TemperatureFit:
    """How the temperature of a head was found.

    Attributes:
        temperature: That of the head's decision: the fitted one if ``gain`` is above 0 or ``beside`` is true, else 1.
        fitted: The one with the least log loss of the held-out items; or see ``beside``.
        gain: The mean reduction of their log loss, each by a temperature that was fitted without it.
        error: The standard error of ``gain``, in which the items of one text count as one observation.
        items: Number of held-out items, rows or words.
        beside: Whether it was measured against the temperature of a similar head, see ``fit_temperature_beside``.

    Examples:
        >>> fit = mh.train(model, table, text="note").temperature["urgency"]
        >>> fit.temperature, fit.items
        (1.0, 22)
    """

    temperature: float
    fitted: float
    gain: float
    error: float
    items: int
    beside: bool = False

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON.

        Examples:
            >>> sorted(mh.train(model, table, text="note").temperature["urgency"].record())
            ['beside', 'error', 'fitted', 'gain', 'items', 'temperature']
        """
        return asdict(self)


def fit_temperature(spec: HeadSpec, held_out: HeldOut, seed: int = 0) -> TemperatureFit | None:
    """Return the temperature of a head, ``None`` for a head without probabilities.

    Args:
        spec: The head's spec.
        held_out: Items that its weights were not trained on.
        seed: Of the folds.
    """
    fit = _fit(spec, held_out, seed, lambda items: best_temperature(spec, held_out.take(items)))
    return fit if fit is None or fit.gain > 0 else replace(fit, temperature=1.0)


def fit_temperature_beside(
    spec: HeadSpec, held_out: HeldOut, reference: HeldOut, known: float, seed: int = 0
) -> TemperatureFit | None:
    """Return the temperature of a head beside a similar one, whose temperature is known from more items.

    It is the known one times the ratio of the temperatures that fit both heads to the same few items best: where these
    happen to be easy, they are easy for both. (A control variate; Owen 2013, "Monte Carlo theory, methods and
    examples", chapter 8.)

    Args:
        spec: The spec of both heads.
        held_out: Items that the head's weights were not trained on.
        reference: The same items with the logits of the similar head.
        known: The similar head's temperature.
        seed: Of the folds.
    """

    def beside(items: np.ndarray) -> float:
        own, other = (best_temperature(spec, each.take(items)) for each in (held_out, reference))
        return min(max(known * own / other, LOWEST), HIGHEST)

    fit = _fit(spec, held_out, seed, beside)
    return None if fit is None else replace(fit, beside=True)


def _fit(
    spec: HeadSpec, held_out: HeldOut, seed: int, temperature_of: Callable[[np.ndarray], float]
) -> TemperatureFit | None:
    """Return the temperature of all items, and its gain by cross-fitting.

    Args:
        spec: The head's spec.
        held_out: Items that its weights were not trained on.
        seed: Of the folds.
        temperature_of: Returns the temperature by some of the items.
    """
    if "temperature" not in spec.decided_by:
        return None
    if held_out.groups.max(initial=-1) + 1 < MIN_TEXTS:
        return TemperatureFit(1.0, 1.0, 0.0, 0.0, len(held_out))
    gains = np.empty(len(held_out))
    raw = log_losses(spec, held_out, 1.0)
    folds = held_out.folds(FOLDS, seed)
    for fold in range(FOLDS):
        others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        gains[own] = raw[own] - log_losses(spec, held_out.take(own), temperature_of(others))
    fitted = temperature_of(np.arange(len(held_out)))
    return TemperatureFit(fitted, fitted, held_out.mean(gains), held_out.error(gains), len(held_out))


def best_temperature(spec: HeadSpec, held_out: HeldOut) -> float:
    """Return the temperature with the least log loss, between 0.05 and 20.

    Args:
        spec: Of a head with probabilities.
        held_out: At least one item.
    """

    def loss(factor: float) -> float:
        return held_out.mean(log_losses(spec, held_out, 1 / factor))

    return 1 / least_loss_factor(loss, len(held_out), 1 / HIGHEST, 1 / LOWEST)


def least_loss_factor(loss: Callable[[float], float], items: int, lowest: float, highest: float) -> float:
    """Return the factor of logits with the least loss, by a bounded search of its logarithm; 1 if none is better.

    A normal prior of the logarithm, with standard deviation one, counts like one more item.

    Args:
        loss: The mean loss of the items for a factor.
        items: Their number.
        lowest: The smallest factor.
        highest: The largest factor.
    """

    def penalized(exponent: float) -> float:
        return loss(math.exp(exponent)) + exponent**2 / 2 / items

    bounds = (math.log(lowest), math.log(highest))
    found = minimize_scalar(penalized, bounds=bounds, method="bounded", options={"xatol": _PRECISION})
    return math.exp(found.x) if found.fun < penalized(0.0) else 1.0


def log_losses(spec: HeadSpec, held_out: HeldOut, temperature: float) -> np.ndarray:
    """Return the log loss of each item with a temperature, fp64 (items,).

    It is the head's loss without class weights and label smoothing, which are for training. The losses of an ordinal
    head's tasks add up to the label's.

    Args:
        spec: Of a head with probabilities.
        held_out: The items.
        temperature: Divides the logits.
    """
    plain = replace(cast(LabelledSpec, spec), label_smoothing=0.0)
    logits = torch.from_numpy(held_out.logits.astype(np.float64) / temperature)
    cells = plain.cell_losses(logits, torch.from_numpy(held_out.targets), None)
    return np.bincount(cells.rows.numpy(), cells.losses.numpy(), minlength=len(held_out))
