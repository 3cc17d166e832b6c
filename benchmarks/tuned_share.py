"""Tuned weights mixed with those before tuning: accuracy and log loss on test rows for every share of the tuned ones.

Run with ``python -m benchmarks.tuned_share occupation_tasks.csv Fork 3e-4 [training rows] [seed]``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import torch
import transformers
from sklearn.metrics import log_loss

import manyheads as mh
from benchmarks.data import HEADS, cut, minilm
from manyheads.training.tuning.weight_mixture import SHARES

METHODS: dict[str, Callable[..., mh.Full | mh.Fork | mh.LoRA]] = {
    "Full": mh.Full,
    "Fork": partial(mh.Fork, frozen_share=0),
    "LoRA": mh.LoRA,
}


def tuned(train: pa.Table, labels: pa.Table, method: mh.Full | mh.Fork | mh.LoRA, seed: int) -> mh.HeadedModel:
    """Return MiniLM with both heads, trained."""
    model = mh.HeadedModel.from_pretrained(minilm())
    for name, spec in mh.infer_heads(labels, list(HEADS)).items():
        model.add_head(name, spec)
    mh.train(model, train, text="text", method=method, eval_fraction=0, seed=seed)
    return model


def scores(model: mh.HeadedModel, test: pa.Table) -> list[str]:
    """Return accuracy and log loss of each head."""
    predictions = model.predict(test.column("text").to_pylist())
    cells = []
    for name in HEADS:
        labels = list(model.heads[name].spec.labels)  # type: ignore[attr-defined]
        truth = np.array([labels.index(label) for label in test.column(name).to_pylist()])
        probabilities = np.asarray(predictions.scores[name], dtype=np.float64)
        loss = log_loss(truth, probabilities / probabilities.sum(axis=1, keepdims=True), labels=range(len(labels)))
        cells += [f"{(probabilities.argmax(axis=1) == truth).mean():.3f}", f"{loss:.3f}"]
    return cells


def main() -> None:
    """Print the table."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    path, name, rate, *rest = sys.argv[1:]
    rows, seed = (int(value) for value in (rest + ["2000", "0"][len(rest) :]))
    train, test = cut(path, rows, 2000, seed)
    both = pa.concat_tables([train, test])
    before, after = (tuned(train, both, METHODS[name](lr=float(rate), tuned_share=share), seed) for share in (0, 1))
    print(f"| share | {HEADS[0]}: accuracy | log loss | {HEADS[1]}: accuracy | log loss |\n|---|---|---|---|---|")
    ends = [dict(model.core.named_parameters()) for model in (before, after)]
    tuned_weights = {key: parameter.detach().clone() for key, parameter in ends[1].items()}
    for share in SHARES:
        with torch.no_grad():
            for key, parameter in ends[1].items():
                parameter.copy_(ends[0][key].lerp(tuned_weights[key], share))
        print(f"| {share} | {' | '.join(scores(after, test))} |", flush=True)


if __name__ == "__main__":
    main()
