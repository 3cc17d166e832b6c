"""Choose rows that are uncertain and different from each other.

The most uncertain rows, ten times as many as are wanted, are divided into as many clusters as are wanted by k-means,
weighted by their uncertainty, and each cluster gives the row nearest to its center (Zhdanov 2019, "Diverse mini-batch
active learning").
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

_CANDIDATES = 10
_MAX_ITERATIONS = 20
_LEAST_WEIGHT = 1e-6


def choose_rows(uncertainties: np.ndarray, features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the chosen rows, the most uncertain first.

    Args:
        uncertainties: (rows,) at least 0.
        features: (rows, width).
        count: Number of rows to choose, at most all.
        seed: Of the clusters' start.
    """
    by_uncertainty = np.argsort(-uncertainties, kind="stable")
    candidates = by_uncertainty[: _CANDIDATES * count]
    if len(candidates) <= count:
        return candidates
    weights = np.maximum(uncertainties[candidates], _LEAST_WEIGHT)
    clusters = KMeans(count, n_init=1, max_iter=_MAX_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        # Fewer different vectors than clusters: the rest is filled below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        cluster_of = clusters.fit_predict(features[candidates], sample_weight=weights)
    distances = np.square(features[candidates] - clusters.cluster_centers_[cluster_of]).sum(axis=1)
    nearest_first = np.argsort(distances, kind="stable")
    _, places = np.unique(cluster_of[nearest_first], return_index=True)
    chosen = candidates[nearest_first[places]]
    others = by_uncertainty[~np.isin(by_uncertainty, chosen)]
    chosen = np.concatenate([chosen, others[: count - len(chosen)]])
    order: np.ndarray = chosen[np.argsort(-uncertainties[chosen], kind="stable")]
    return order
