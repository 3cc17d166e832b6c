"""By what the settings of a linear head are chosen: values on held-out items, of which the smallest is best."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.special import log_softmax

from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.thresholds import fit_thresholds
from manyheads.errors import MethodError, listed
from manyheads.evaluation.metrics import measure
from manyheads.heads import NEUTRAL, HeadSpec
from manyheads.training.fit import HELD_OUT
from manyheads.training.searching.comparison import entropy, spread

LOSS, MAIN = "loss", "main"
# Metrics of which a larger value is better.
METRICS = ("accuracy", "macro_f1", "micro_f1", "average_precision", "exact_match", "quadratic_kappa", "r2", "d2")
# Parts of the held-out texts, for the standard error of a metric.
_PARTS = 20


class Criterion(ABC):
    """What is compared.

    Attributes:
        by: The name of what is compared, in the records of alternatives.
        needs_all_folds: Whether one fold of many rows is too noisy to compare it on.
    """

    by: str
    needs_all_folds: bool

    @abstractmethod
    def value(self, spec: HeadSpec, held_out: HeldOut, loss: float) -> float:
        """Return what compares two penalties; smaller is better.

        Args:
            spec: The head's spec.
            held_out: Held-out items, each with logits of a layer that was fitted without it.
            loss: Their mean loss.
        """

    @abstractmethod
    def errors(self, spec: HeadSpec, held_out: HeldOut) -> np.ndarray:
        """Return (n,) numbers whose mean compares two sets of taps; smaller is better, and the standard error of the
        mean is that of the comparison.
        """


class HeldOutLoss(Criterion):
    """The mean loss; sets of taps are compared by the log loss of classes, else by the squared error of the scores."""

    by = HELD_OUT
    needs_all_folds = False

    def value(self, spec: HeadSpec, held_out: HeldOut, loss: float) -> float:
        """Return the mean loss."""
        return loss

    def errors(self, spec: HeadSpec, held_out: HeldOut) -> np.ndarray:
        """Return for classes, log losses as a share of the classes' entropy; else squared errors, summed over the
        scores, as a share of the variance (items,). An item with a weight counts with it.
        """
        logits = held_out.logits
        target_scores = spec.target_scores(held_out.targets).astype(np.float64)
        errors: np.ndarray
        if spec.has_classes:
            log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
            errors = -(target_scores * log_probabilities).sum(axis=1) / entropy(target_scores)
        else:
            errors = np.nansum((spec.raw_scores(logits) - target_scores) ** 2, axis=1) / spread(target_scores)
        weights = held_out.weights
        return errors if weights is None else errors * (weights / weights.mean())


class HeldOutMetric(Criterion):
    """One minus a metric, with thresholds fitted to the scores where the head has them; all items count alike.

    Args:
        metric: Name of a metric of which a larger value is better.
    """

    needs_all_folds = True

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.by = f"{HELD_OUT}, {metric}"

    def value(self, spec: HeadSpec, held_out: HeldOut, loss: float) -> float:
        """Return one minus the metric."""
        return self._missed(spec, held_out)

    def _missed(self, spec: HeadSpec, held_out: HeldOut) -> float:
        decision = fit_thresholds(spec, held_out, NEUTRAL)
        found = measure(spec, held_out.targets, held_out.logits, decision)[self.metric]
        return 1.0 if np.isnan(found) else 1.0 - found

    def errors(self, spec: HeadSpec, held_out: HeldOut) -> np.ndarray:
        """Return the jackknife's pseudo-values of one minus the metric (parts,): with G parts, the value v of all items
        and v_g of all but part g of the texts, they are G v - (G - 1) v_g (Tukey 1958).
        """
        parts = min(_PARTS, int(held_out.groups.max()) + 1)
        part_of = held_out.groups % parts
        whole = self._missed(spec, held_out)
        without = [self._missed(spec, held_out.take(np.flatnonzero(part_of != part))) for part in range(parts)]
        return parts * whole - (parts - 1) * np.array(without)


def criterion_of(select_by: str, head: str, spec: HeadSpec) -> Criterion:
    """Return the criterion of a head for a method's ``select_by``.

    Raises:
        MethodError: a metric that the head does not have.
    """
    # A token head is fitted on words, without the texts that entities are found in.
    metric = LOSS if spec.by_word and select_by == MAIN else spec.main_metric if select_by == MAIN else select_by
    if metric == LOSS:
        return HeldOutLoss()
    available = () if spec.by_word else metrics_of(spec)
    if metric not in available:
        choices = f"has {listed(available)}" if available else "is always chosen by its loss"
        raise MethodError(
            f"Head {head!r}: no metric {metric!r} to select by; {spec.owner} {choices}. Use select_by='main' for each "
            "head's main metric, 'loss', or train the heads one after the other with heads=[...]"
        )
    return HeldOutMetric(metric)


def metrics_of(spec: HeadSpec) -> tuple[str, ...]:
    """Return the names of a head's metrics of which a larger value is better."""
    cells = spec.encode([None], "", "").values
    example = np.zeros_like(cells)
    found = measure(spec, np.concatenate([example, example]), np.zeros((2, spec.outputs), dtype=np.float32))
    return tuple(metric for metric in METRICS if metric in found)
