"""Choice and solution of two heads on cached features against scikit-learn's LogisticRegression on one tap.

Run with ``python -m benchmarks.warm_choice occupation_tasks.csv [--rows 2000,10000] [--repeats 3]``. Ours is a whole
call of ``train`` with ``Frozen()``: reading, tokenizing, the search of taps and penalties, the solution, temperatures
and the evaluation of 1,000 rows. Theirs is ``fit`` and ``score`` at one strength for each head, on given vectors: the
mean of the last layer.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import transformers
from sklearn.linear_model import LogisticRegression

import manyheads as mh
from benchmarks.compare import alternate
from benchmarks.data import HEADS, cut, minilm

_TEST = 1000


def ours(train: pa.Table, test: pa.Table, cache: Path) -> dict[str, float]:
    """Train both heads on cached features."""
    model = mh.HeadedModel.from_pretrained(minilm())
    for name, spec in mh.infer_heads(pa.concat_tables([train, test]), list(HEADS)).items():
        model.add_head(name, spec)
    result = mh.train(model, train, text="text", eval_data=test, method=mh.Frozen(cache=cache))
    return {name: result.metrics[name]["accuracy"] for name in HEADS}


def theirs(vectors: np.ndarray, rows: pa.Table, count: int) -> dict[str, float]:
    """Fit one LogisticRegression per head on the first rows, and score it on the others."""
    found = {}
    for name in HEADS:
        labels = np.array(rows.column(name).to_pylist(), dtype=object)
        fitted = LogisticRegression(C=10, max_iter=1000).fit(vectors[:count], labels[:count])
        found[name] = float(fitted.score(vectors[count:], labels[count:]))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", default="2000,10000")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print("| rows | ours, s | theirs, s | ratio | ours | theirs |\n|---|---|---|---|---|---|")
    for count in map(int, arguments.rows.split(",")):
        train, test = cut(arguments.path, count, _TEST)
        rows = pa.concat_tables([train, test])
        model = mh.HeadedModel.from_pretrained(minilm())
        tap = mh.Hidden(pool="mean", normalize=True)
        vectors = np.asarray(model.features(rows.column("text").to_pylist(), [tap])[tap])
        with tempfile.TemporaryDirectory() as place:
            cache = Path(place)
            ours(train, test, cache)
            timed = alternate(
                {"ours": lambda: ours(train, test, cache), "theirs": lambda: theirs(vectors, rows, count)},  # noqa: B023
                arguments.repeats,
            )
        seconds = [timed[way].median for way in ("ours", "theirs")]
        shown = [" / ".join(f"{value:.3f}" for value in timed[way].result.values()) for way in timed]  # type: ignore[attr-defined]
        print(
            f"| {count} | {seconds[0]:.1f} | {seconds[1]:.1f} | {seconds[0] / seconds[1]:.1f} | {' | '.join(shown)} |"
        )


if __name__ == "__main__":
    main()
