"""What heads on a low layer of MiniLM cost: whole predictions, tokenizing and pooling included.

Run with ``python -m benchmarks.low_layers [occupation_tasks.csv]``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import transformers

import manyheads as mh
from benchmarks.compare import alternate
from benchmarks.data import draw, minilm

ROWS, REPEATS = 300, 5


def predicting(dtype: str, layer: int) -> Callable[[], object]:
    """Return a function that predicts with two heads that read one layer in two poolings."""
    model = mh.HeadedModel.from_pretrained(minilm(), dtype=dtype)
    for name, pool in (("one", "mean"), ("other", "max")):
        spec = mh.Multiclass(labels=list(range(20)), reads=mh.Hidden(layer=layer, pool=pool))
        model.add_head(name, spec).trained = True
    texts = draw(ROWS, 1)[0].column("text").to_pylist()
    return lambda: model.predict(texts).scores


def main() -> None:
    """Print the time of each layer, of the last layer's."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for dtype in ("float32", "bfloat16"):
        ways = {f"layer {layer} of 6": predicting(dtype, layer) for layer in (1, 2, 3, 6)}
        alternate(ways, 1)
        timed = alternate(ways, REPEATS)
        last = timed["layer 6 of 6"]
        print(f"{dtype}: {ROWS / last.median:.0f} texts/s from the last layer")
        for name, entry in timed.items():
            wall, processor = entry.median / last.median, entry.processor_median / last.processor_median
            print(f"- {name}: {wall:.3f} of the wall time, {processor:.3f} of the processor time", flush=True)


if __name__ == "__main__":
    main()
