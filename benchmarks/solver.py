"""The linear solver against scikit-learn's LogisticRegression: time to the same objective.

Run with ``python -m benchmarks.solver [rows ...]``; 1,000, 10,000 and 100,000 rows of 768 features by default. The
features are made up: correlated, of unequal scale, with 22 labels that they tell in part.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

import manyheads as mh
from manyheads.training.solving.design import DenseDesign, StreamedDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.scaling import Basis, Scaling
from manyheads.training.solving.solve import solve_refined

WIDTH, LABELS, L2 = 768, 22, 0.01
# Above this, features are streamed, as in training.
HELD_ROWS = 300_000_000 // WIDTH


def features(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, 768) fp32 and labels."""
    draw = np.random.default_rng(0)
    mixing = draw.normal(size=(WIDTH, WIDTH)).astype(np.float32) * np.geomspace(1, 0.01, WIDTH, dtype=np.float32)
    values = draw.standard_normal((rows, WIDTH), dtype=np.float32) @ mixing.T
    scores = values @ draw.normal(size=(WIDTH, LABELS)).astype(np.float32) / 20
    return values, (scores + draw.gumbel(size=scores.shape)).argmax(axis=1)


def objective(weight: np.ndarray, bias: np.ndarray, values: np.ndarray, labels: np.ndarray) -> float:
    """Return mean cross-entropy plus the penalty, summed in fp64."""
    total = 0.0
    for start in range(0, len(values), 50_000):
        logits = torch.from_numpy(values[start : start + 50_000].astype(np.float64) @ weight.T + bias)
        total += float(
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[start : start + 50_000]), reduction="sum")
        )
    return total / len(values) + 0.5 * L2 * float((weight**2).sum())


def ours(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn, solve, and turn back to standardised features."""
    held = torch.from_numpy(values)
    if len(values) > HELD_ROWS:
        design = StreamedDesign(lambda rows: held[int(rows[0]) : int(rows[-1]) + 1], np.arange(len(values)))
        basis = design.basis
    else:
        basis = Basis.of(held)
        design = DenseDesign(basis.apply(held), basis.variances)
    problem = Problem(mh.Multiclass(labels=list(range(LABELS))), design, torch.from_numpy(labels), None)
    layer = solve_refined(problem, L2, Linear.zeros(LABELS, design.width))
    return (layer.weight.double() @ basis.axes.T.double()).numpy(), layer.bias.double().numpy()


def theirs(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise, and fit."""
    model = LogisticRegression(C=1 / (L2 * len(values)), max_iter=1000)
    model.fit(Scaling.of(torch.from_numpy(values)).apply(torch.from_numpy(values)).numpy(), labels)
    return model.coef_, model.intercept_


def main() -> None:
    """Print one line per number of rows."""
    print("| rows | ours s | scikit-learn s | ratio | objective, ours | theirs |\n|---|---|---|---|---|---|")
    for rows in [int(text) for text in sys.argv[1:]] or [1000, 10_000, 100_000]:
        values, labels = features(rows)
        spent, found = {}, {}
        for name, way in (("ours", ours), ("theirs", theirs)):
            started = time.perf_counter()
            found[name] = way(values, labels)
            spent[name] = time.perf_counter() - started
        standard = Scaling.of(torch.from_numpy(values)).apply(torch.from_numpy(values)).numpy()
        one, other = (objective(*found[name], standard, labels) for name in ("ours", "theirs"))
        print(f"| {rows:,} | {spent['ours']:.2f} | {spent['theirs']:.2f} | {spent['theirs'] / spent['ours']:.1f}x "
              f"| {one:.6f} | {other:.6f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
