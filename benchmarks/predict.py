"""Prediction: rows per second against transformers' pipeline, six heads against one, and the best of plain layers.

Run with ``python -m benchmarks.predict [occupation_tasks.csv] [--rows 512] [--long 50] [--repeats 5]``. The rival runs
``pipeline("text-classification", batch_size=32)`` once per head, in fp32 as it comes. What a head on a low layer costs
is measured by ``benchmarks.low_layers``. Every table is one run: ways alternate, and ratios are of medians, of wall
time and of processor time, which other work on the machine moves less.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers

import manyheads as mh
from benchmarks.compare import Timed, alternate
from benchmarks.data import HEADS, draw, minilm
from benchmarks.feature_pass import linear_layers, sizes, useful
from manyheads.data.batching import TOKEN_BUDGET
from manyheads.features import FeatureSource
from manyheads.features.precision import DTYPES, has_fast_bfloat16, in_precision
from manyheads.features.tokenize import tokenize_for

# Labels of the two heads of the table of task statements.
LABELS = dict(zip(HEADS, (22, 37), strict=True))
Way = Callable[[], object]


def precisions() -> list[str]:
    """Return the precisions to measure: fp32, and bf16 where the hardware has it."""
    return ["float32", *(["bfloat16"] if has_fast_bfloat16(torch.device("cpu")) else [])]


def model_with(heads: Mapping[str, int]) -> mh.HeadedModel:
    """Return MiniLM with random heads: name -> number of labels. What they predict does not matter here."""
    model = mh.HeadedModel.from_pretrained(minilm())
    for name, count in heads.items():
        spec = mh.Multiclass(labels=list(range(count)), reads=mh.Hidden(pool="mean"))
        model.add_head(name, spec).trained = True
    return model


def scoring(model: mh.HeadedModel, texts: Sequence[str], dtype: str) -> Way:
    """Return a way to predict the texts to arrays."""
    predictor = mh.Predictor(model, dtype=dtype)
    return lambda: predictor(texts).scores


def pipelines() -> dict[str, Any]:
    """Return one stock pipeline per head, on classifiers of the same backbone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    return {
        head: transformers.pipeline(
            "text-classification", model=load(minilm(), num_labels=count), tokenizer=tokenizer, batch_size=32
        )
        for head, count in LABELS.items()
    }


def rates(texts: Sequence[str], repeats: int) -> None:
    """Print rows per second of two heads, against the pipeline once per head."""
    rivals, model = pipelines(), model_with(LABELS)
    ways: dict[str, Way] = {"pipeline, once per head": lambda: [rival(list(texts)) for rival in rivals.values()]}
    ways |= {f"manyheads, {dtype}": scoring(model, texts, dtype) for dtype in precisions()}
    show(timed(ways, repeats), "pipeline, once per head", len(texts))


def counts(texts: Sequence[str], repeats: int) -> None:
    """Print what six heads cost, against one."""
    models = {count: model_with({f"head{number}": 22 for number in range(count)}) for count in (1, 6)}
    for dtype in precisions():
        ways = {f"heads: {count}, {dtype}": scoring(model, texts, dtype) for count, model in models.items()}
        show(timed(ways, repeats), f"heads: 1, {dtype}", len(texts))


def rooflines(texts: Mapping[str, Sequence[str]], repeats: int) -> None:
    """Print the useful FLOPs of the feature pass over those of plain linear layers in the same run."""
    model = mh.HeadedModel.from_pretrained(minilm())
    print("| texts, precision | useful GFLOP/s | linear GFLOP/s | share, wall time | share, processor time |")
    print("|---|---|---|---|---|")
    for name, few in texts.items():
        for dtype in precisions():
            print(f"| {name}, {dtype} | {' | '.join(roofline(model, few, DTYPES[dtype], repeats))} |")
    print(flush=True)


def roofline(model: mh.HeadedModel, texts: Sequence[str], dtype: torch.dtype, repeats: int) -> list[str]:
    """Return one row of that table."""
    tokenized, core = tokenize_for(model.core, model.tokenizer, texts), in_precision(model.core, dtype)
    tap, rows = mh.Hidden(pool="mean").resolve(model.core.backbone.facts), np.arange(len(texts))
    flops, layers = useful(model, tokenized.lengths), linear_layers(sizes(model), TOKEN_BUDGET, dtype)
    rounds = max(1, round(flops / layers(1)))
    ways: dict[str, Way] = {
        "pass": lambda: FeatureSource(core, tokenized).read([tap], rows),
        "layers": lambda: layers(rounds),
    }
    found = timed(ways, repeats)
    best = layers(1) * rounds
    speed, peak = flops / found["pass"].median, best / found["layers"].median
    used = flops / found["pass"].processor_median / (best / found["layers"].processor_median)
    return [f"{speed / 1e9:.0f}", f"{peak / 1e9:.0f}", f"{speed / peak:.2f}", f"{used:.2f}"]


def timed(ways: Mapping[str, Way], repeats: int) -> dict[str, Timed]:
    """Run every way once to warm up, then alternately."""
    alternate(ways, 1)
    return alternate(ways, repeats)


def show(found: Mapping[str, Timed], base: str, rows: int) -> None:
    """Print a table: rows per second, and time over that of ``base``."""
    print("| way | rows/s | time, of the first | processor time, of the first |\n|---|---|---|---|")
    for name, entry in found.items():
        wall, used = entry.median / found[base].median, entry.processor_median / found[base].processor_median
        print(f"| {name} | {rows / entry.median:.0f} | {wall:.3f} | {used:.3f} |")
    print(flush=True)


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--long", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    sys.argv = [sys.argv[0], *([str(options.table)] if options.table else [])]
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    short = draw(options.rows, 1)[0].column("text").to_pylist()
    long = draw(options.long, 1, joined=10)[0].column("text").to_pylist()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"torch: {torch.backends.cpu.get_cpu_capability()}; precisions: {', '.join(precisions())}\n")
    for measure in (rates, counts):
        print(f"## {measure.__name__}: {len(short)} short texts\n")
        measure(short, options.repeats)
    print("## Roofline\n")
    rooflines({f"{len(short)} short": short, f"{len(long)} long": long}, options.repeats)


if __name__ == "__main__":
    main()
