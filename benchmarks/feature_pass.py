"""The feature pass alone: against ``SentenceTransformer.encode``, against the best that plain linear layers reach, and
what more taps, another budget or a thousand heads cost.

Run with ``python -m benchmarks.feature_pass [occupation_tasks.csv]``.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from torch import nn

import manyheads as mh
from benchmarks.compare import alternate
from benchmarks.data import bert_base, draw, minilm
from benchmarks.rivals import encoder
from manyheads.data.batching import TOKEN_BUDGET
from manyheads.features import FeatureSource
from manyheads.features.tokenize import tokenize_for
from manyheads.taps import Tap


def sizes(model: mh.HeadedModel) -> list[tuple[int, int]]:
    """Return the inputs and outputs of the linear layers of a block of BERT's shape."""
    width, inner = model.backbone.config.hidden_size, model.backbone.config.intermediate_size
    return [(width, width)] * 4 + [(width, inner), (inner, width)]


def linear_layers(
    sizes: Sequence[tuple[int, int]], tokens: int, dtype: torch.dtype = torch.float32
) -> Callable[[int], float]:
    """Return a function that runs plain linear layers of these sizes on so many tokens, in rounds, and returns their
    FLOPs."""
    layers = [(nn.Linear(width, out).to(dtype), torch.randn(tokens, width, dtype=dtype)) for width, out in sizes]

    def run(rounds: int) -> float:
        with torch.inference_mode():
            for _ in range(rounds):
                for layer, values in layers:
                    layer(values)
        return rounds * 2.0 * tokens * sum(width * out for width, out in sizes)

    return run


def peak(sizes: Sequence[tuple[int, int]], tokens: int, seconds: float = 1.0) -> float:
    """Return the FLOPs per second of plain linear layers of these sizes on so many tokens."""
    layers, flops, started = linear_layers(sizes, tokens), 0.0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        flops += layers(1)
    return flops / (time.perf_counter() - started)


def useful(model: mh.HeadedModel, lengths: np.ndarray) -> float:
    """Return the FLOPs of the matrix products that the texts need, padding not counted: linear layers and attention."""
    config = model.backbone.config
    linear = sum(
        layer.weight.numel()
        for name, layer in model.backbone.named_modules()
        if isinstance(layer, nn.Linear) and "pooler" not in name
    )
    attention = 4 * config.num_hidden_layers * config.hidden_size
    return float((2 * linear * lengths + attention * lengths.astype(float) ** 2).sum())


def measured(path: str, texts: Sequence[str], with_encoder: bool, repeats: int = 5) -> None:
    """Print the lines of one backbone and one list of texts."""
    model = mh.HeadedModel.from_pretrained(path)
    tokenized = tokenize_for(model.core, model.tokenizer, texts)
    facts = model.core.backbone.facts
    pools = ("mean", "max", "cls")
    one: list[Tap] = [mh.Hidden(pool="mean").resolve(facts)]
    many: list[Tap] = [mh.Hidden(layer, pool).resolve(facts) for layer in range(len(facts.widths)) for pool in pools]
    every = np.arange(len(texts))

    def read(taps: list[Tap]) -> Callable[[], object]:
        return lambda: FeatureSource(model.core, tokenized).read(taps, every)

    block = sizes(model)
    ways: dict[str, Callable[[], object]] = {"one tap": read(one), f"all layers x 3 poolings ({len(many)})": read(many)}
    ways["linear peak"] = lambda: peak(block, TOKEN_BUDGET)
    if with_encoder:
        rival = encoder(path)
        ways["encode"] = lambda: rival.encode(list(texts), show_progress_bar=False)
    alternate(ways, 1)
    best: list[float] = []
    ways["linear peak"] = lambda: best.append(peak(block, TOKEN_BUDGET))
    timed = alternate(ways, repeats)
    base = timed["one tap"].median
    speed = useful(model, tokenized.lengths) / base
    print(f"- {len(texts) / base:.0f} texts/s, {int(tokenized.lengths.sum()) / base:,.0f} tokens/s")
    print(f"- roofline: {speed / 1e9:.0f} of {statistics.median(best) / 1e9:.0f} GFLOP/s: "
          f"{speed / statistics.median(best):.2f}")  # fmt: skip
    for name, entry in timed.items():
        if name not in ("one tap", "linear peak"):
            print(f"- {name}: {entry.median / base:.2f}x one tap's time")
    print(flush=True)


def many_heads(texts: Sequence[str], count: int = 1000) -> None:
    """Print what predicting with many heads costs against one."""
    models = {}
    for heads in (1, count):
        models[heads] = mh.HeadedModel.from_pretrained(minilm())
        for number in range(heads):
            models[heads].add_head(f"head{number}", mh.Multiclass(labels=list(range(5)))).trained = True
    ways = {f"{heads} heads": (lambda model=model: model.predict(texts).scores) for heads, model in models.items()}
    timed = alternate(ways, 1) and alternate(ways, 5)
    one, all_of_them = (entry.median for entry in timed.values())
    print(f"- {count} heads of 5 labels against 1, predict to arrays: {all_of_them / one:.3f}x\n", flush=True)


def main() -> None:
    """Print everything."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    short, long = (rows.column("text").to_pylist() for rows in (draw(1000, 1)[0], draw(200, 1, joined=10)[0]))
    with tempfile.TemporaryDirectory() as place:
        print("## MiniLM, 1,000 short texts\n")
        measured(minilm(), short, with_encoder=True)
        print("## MiniLM, 200 long texts\n")
        measured(minilm(), long, with_encoder=True)
        print("## BERT-base-shaped, 200 short texts\n")
        measured(bert_base(Path(place)), short[:200], with_encoder=False)
    print("## Many heads\n")
    many_heads(short)


if __name__ == "__main__":
    main()
