"""What each metric means: its formula in words, and whether more of it is better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricFact:
    """The meaning of a metric.

    Attributes:
        formula: How it is computed.
        larger_is_better: Whether larger is better.
    """

    formula: str
    larger_is_better: bool = True


METRICS: dict[str, MetricFact] = {
    "accuracy": MetricFact("share of rows (of words, for heads that label words) whose predicted label is right"),
    "balanced_accuracy": MetricFact("mean of the labels' recalls"),
    "macro_f1": MetricFact("mean of the labels' F1, each 2 right / (true + predicted)"),
    "weighted_f1": MetricFact("mean of the labels' F1, weighted by their number of rows"),
    "micro_f1": MetricFact("F1 of the labels of all rows together"),
    "micro_precision": MetricFact("share of the predicted labels that are right"),
    "micro_recall": MetricFact("share of the true labels that are predicted"),
    "exact_match": MetricFact("share of rows with exactly the right labels"),
    "roc_auc": MetricFact(
        "probability that a row with a label scores higher for it than a row without, averaged over labels"
    ),
    "average_precision": MetricFact("precision averaged over recall from high to low scores, averaged over labels"),
    "log_loss": MetricFact("mean of -log(probability of the right label)", larger_is_better=False),
    "brier": MetricFact(
        "mean of sum over labels (probability - truth)^2, halved for two labels; for several labels per row the mean "
        "over labels",
        larger_is_better=False,
    ),
    "quadratic_kappa": MetricFact("1 - squared rank error / that of chance"),
    "mean_absolute_error": MetricFact("mean of |prediction - truth|; in ranks for ordered labels", False),
    "root_mean_squared_error": MetricFact("square root of the mean of (prediction - truth)^2", False),
    "r2": MetricFact("1 - squared error / that of the mean of the evaluated rows"),
    "d2": MetricFact("1 - Poisson deviance / that of the mean of the evaluated rows"),
    "mean_poisson_deviance": MetricFact("mean of 2 (y log(y / m) - y + m)", False),
    "spearman": MetricFact("correlation of the ranks of predictions and truths"),
    "entity_f1": MetricFact("F1 of whole entities, right if first word, last word and type are"),
    "entity_precision": MetricFact("share of the predicted entities that are right"),
    "entity_recall": MetricFact("share of the true entities that are found"),
    "entity_overlap_f1": MetricFact("F1 of entities, right if the type is and at least one word is common"),
}


def is_better(metric: str, gain: float) -> bool:
    """Return whether a difference of a metric is an improvement."""
    return gain > 0 if METRICS[metric].larger_is_better else gain < 0
