"""Cross-validation, suspect labels, rows to label next, and learning curves, on occupation tasks and MiniLM.

Run with ``python -m benchmarks.labels PART TABLE [seeds]``, where PART is

- ``ratio``: the time of ``cross_validate`` with 5 folds against one training, both warm, in turn; medians of 3.
- ``suspects``: the share of wrong labels among the first n of ``label_issues``, after n labels were changed.
- ``next``: the accuracy from 300 rows of ``next_to_label`` beside 100 others, against 300 drawn rows.
- ``curve``: the expected accuracy with twice the rows, against the measured one.
"""

from __future__ import annotations

import os
import sys
import time
from statistics import median

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import transformers

import manyheads as mh
from benchmarks.data import HEADS, cut, minilm
from manyheads.heads import HeadSpec

HEAD = HEADS[0]
ROWS, TEST_ROWS, POOL = 2000, 2000, 4000
WRONG = 0.05
START, MORE = 100, 300


def model_with(specs: dict[str, HeadSpec]) -> mh.HeadedModel:
    """Return MiniLM with untrained heads."""
    model = mh.HeadedModel.from_pretrained(minilm())
    for name, spec in specs.items():
        model.add_head(name, spec)
    return model


def ratio(table: str, seeds: int) -> None:
    """Print the times of a training and of a cross-validation in turn."""
    rows, _ = cut(table, ROWS, 0)
    model = model_with(dict(mh.infer_heads(rows, list(HEADS)).items()))
    passes = [0]
    model.backbone.register_forward_hook(lambda *_: passes.__setitem__(0, passes[0] + 1))
    mh.train(model, rows, text="text")
    first, passes[0] = passes[0], 0
    trained, validated = [], []
    for _ in range(3):
        trained.append(seconds(lambda: mh.train(model, rows, text="text")))
        validated.append(seconds(lambda: mh.cross_validate(model, rows, text="text")))
    print(f"| {ROWS:,} | {median(trained):.1f} | {median(validated):.1f} | {median(validated) / median(trained):.1f} |")
    print(f"backbone passes: {first} in the first training, {passes[0]} after it")


def seconds(run: object) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - started


def suspects(table: str, seeds: int) -> None:
    """Print, per seed, how many of the first labels named are changed ones."""
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        rows, _ = cut(table, ROWS, 0, seed)
        spec = mh.infer_heads(rows, [HEAD])[HEAD]
        labels = rows.column(HEAD).to_pylist()
        changed = draw.choice(ROWS, round(WRONG * ROWS), replace=False)
        for row in changed.tolist():
            labels[row] = draw.choice([label for label in spec.labels if label != labels[row]])
        wrong = rows.set_column(rows.schema.get_field_index(HEAD), HEAD, pa.array(labels))
        issues = mh.label_issues(model_with({HEAD: spec}), wrong, text="text")
        named = [issue.row for issue in issues[: len(changed)]]
        found = np.isin(named, changed).mean()
        all_found = np.isin(changed, [issue.row for issue in issues]).mean()
        print(f"| {seed} | {found:.2f} | {len(issues)} | {all_found:.2f} |", flush=True)


def next_rows(table: str, seeds: int) -> None:
    """Print, per seed, the accuracy from the first rows, with drawn rows, and with rows of ``next_to_label``."""
    gains = []
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        pool, test = cut(table, POOL, TEST_ROWS, seed)
        spec = mh.infer_heads(pa.concat_tables([pool, test]), [HEAD])[HEAD]
        order = draw.permutation(POOL)
        start, rest = order[:START], order[START:]
        model, before = trained(spec, pool.take(start), test)
        chosen = mh.next_to_label(model, pool.take(rest).column("text").to_pylist(), MORE)
        _, drawn = trained(spec, pool.take(np.concatenate([start, rest[:MORE]])), test)
        _, picked = trained(spec, pool.take(np.concatenate([start, rest[chosen]])), test)
        gains.append(picked - drawn)
        print(f"| {seed} | {before:.3f} | {drawn:.3f} | {picked:.3f} |", flush=True)
    print(f"gain {np.mean(gains):.4f}, standard error {np.std(gains, ddof=1) / np.sqrt(seeds):.4f}")


def trained(spec: HeadSpec, rows: pa.Table, test: pa.Table) -> tuple[mh.HeadedModel, float]:
    """Return a model trained on some rows, and its accuracy on test rows."""
    model = model_with({HEAD: spec})
    result = mh.train(model, rows, text="text", eval_data=test)
    return model, result.metrics[HEAD]["accuracy"]


def curve(table: str, seeds: int) -> None:
    """Print the expected accuracy with twice the rows, and the measured one."""
    for seed in range(seeds):
        rows, _ = cut(table, 2 * ROWS, 0, seed)
        specs = dict(mh.infer_heads(rows, list(HEADS)).items())
        half = mh.cross_validate(model_with(specs), rows.slice(0, ROWS), text="text", learning_curve=True, seed=seed)
        whole = mh.cross_validate(model_with(specs), rows, text="text", seed=seed)
        for name in HEADS:
            found = half.learning_curve[name]
            assert found.expected is not None
            assert found.expected.interval is not None
            between = f"{found.expected.interval.low:.3f} to {found.expected.interval.high:.3f}"
            points = ", ".join(f"{point.score:.3f}" for point in found.points)
            measured = whole.metrics[name]["accuracy"]
            print(
                f"| {name} | {seed} | {points} | {found.expected.score:.3f} ({between}) | {measured:.3f} |",
                flush=True,
            )


PARTS = {"ratio": ratio, "suspects": suspects, "next": next_rows, "curve": curve}


def main() -> None:
    """Run one part."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    part, table, *rest = sys.argv[1:]
    PARTS[part](table, int(rest[0]) if rest else 5)


if __name__ == "__main__":
    main()
