"""``Fork``, ``LoRA`` and ``Full`` at their defaults against ``Frozen`` on the same rows: at which size does tuning pay?

Run with ``python -m benchmarks.methods PATH HEAD[,HEAD] [--rows 2000] [--test 1000] [--seeds 3] [--text text] [--only
Frozen,Fork]``, where PATH is a table, or a folder with ``train.jsonl`` and ``test.jsonl``. All read MiniLM. Each seed
draws other rows. Behind each mean stands the mean difference to ``Frozen`` and its standard error over the seeds.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import transformers

import manyheads as mh
from benchmarks.data import minilm, rows_of
from manyheads.heads import HeadSpec

Method = mh.Frozen | mh.Fork | mh.LoRA | mh.Full

METHODS: dict[str, Callable[[], Method]] = {
    "Frozen": mh.Frozen,
    "Fork": mh.Fork,
    "LoRA": mh.LoRA,
    "Full": mh.Full,
}


def measured(
    method: Method, specs: Mapping[str, HeadSpec], text: str, train: pa.Table, test: pa.Table, seed: int
) -> tuple[dict[str, tuple[float, float]], mh.TrainResult]:
    """Train with a method; return each head's main metric and log loss, NaN for a head without one."""
    model = mh.HeadedModel.from_pretrained(minilm())
    for name, spec in specs.items():
        model.add_head(name, spec)
    result = mh.train(model, train, text=text, method=method, eval_data=test, seed=seed)
    found = {
        name: (result.metrics[name][spec.main_metric], result.metrics[name].get("log_loss", float("nan")))
        for name, spec in specs.items()
    }
    return found, result


def shown(found: np.ndarray, frozen: np.ndarray) -> str:
    """Return a mean and the difference to ``Frozen``.

    Args:
        found: (seeds,) of a method.
        frozen: (seeds,) of ``Frozen``.
    """
    if found is frozen or np.isnan(found).all():
        return f"{found.mean():.3f}"
    differences = found - frozen
    error = f" ± {differences.std(ddof=1) / len(found) ** 0.5:.3f}" if len(found) > 1 else ""
    return f"{found.mean():.3f} ({differences.mean():+.3f}{error})"


def main() -> None:
    """Print one line per run, and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("heads")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--text", default="text")
    parser.add_argument("--only", default=",".join(METHODS))
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    heads, methods = arguments.heads.split(","), arguments.only.split(",")
    found: dict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for seed in range(arguments.seeds):
        train, test = rows_of(arguments.path, arguments.rows, arguments.test, seed)
        specs = mh.infer_heads(pa.concat_tables([train, test]), heads)
        for method in methods:
            values, result = measured(METHODS[method](), specs, arguments.text, train, test, seed)
            found[method].append(list(values.values()))
            seconds[method].append(result.seconds)
            chosen = [note for note in result.notes if "tuned weights" in note]
            print(f"seed {seed}, {method}: {values}, {result.seconds:.0f} s", *chosen, flush=True)
    columns = [f"{name}: {spec.main_metric} | log loss" for name, spec in specs.items()]
    print(f"\n| method | {' | '.join(columns)} | seconds |\n|{'---|' * (2 * len(heads) + 2)}")
    frozen = np.array(found[methods[0]]).transpose(1, 2, 0).reshape(-1, arguments.seeds)
    for method in methods:
        values_of = np.array(found[method]).transpose(1, 2, 0).reshape(-1, arguments.seeds)
        cells = [shown(one, base if method != methods[0] else one) for one, base in zip(values_of, frozen, strict=True)]
        print(f"| {method} | {' | '.join(cells)} | {np.median(seconds[method]):.0f} |")


if __name__ == "__main__":
    main()
