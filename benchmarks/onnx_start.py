"""Start-up of an exported model: from the first import to the first answer, against a bare script on the same graph.

Run with ``python -m benchmarks.onnx_start [--repeats 9]``. The model is MiniLM with two heads that
read its mean. The bare script opens the graph with onnxruntime and the tokenizer with tokenizers, and returns the
largest logit of each head. Each run is a process of its own, whose interpreter's start is not counted; medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.start_up import TEXT

TIMED = """
import time
started, used = time.perf_counter(), time.process_time()
import sys
folder, text = sys.argv[1:]
{way}
print(time.perf_counter() - started, time.process_time() - used)
"""
WAYS = {
    "bare script": """
import numpy as np
import onnxruntime
import tokenizers
tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
session = onnxruntime.InferenceSession(folder + "/model.onnx", providers=["CPUExecutionProvider"])
encoding = tokenizer.encode(text)
rows = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
logits = session.run(None, {name: np.array([row], np.int64) for name, row in rows.items()})
answers = [values.argmax() for values in logits]
""",
    "OnnxPredictor": """
import manyheads as mh
answers = [prediction.label for prediction in mh.OnnxPredictor(folder)([text])[0].values()]
""",
    "Predictor, with torch": """
import manyheads as mh
predictor = mh.Predictor(mh.HeadedModel.from_pretrained(folder + "/../model"))
answers = [prediction.label for prediction in predictor([text])[0].values()]
""",
}


def run(way: str, folder: str) -> list[float]:
    """Return the seconds of one run: on the clock, and on the processors."""
    command = [sys.executable, "-c", TIMED.format(way=WAYS[way]), folder, TEXT]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as place:
        export(Path(place))
        runs: dict[str, list[list[float]]] = {way: [] for way in WAYS}
        for _ in range(repeats + 1):
            for way, found in runs.items():
                found.append(run(way, f"{place}/onnx"))
    print("| way | s to the first answer | processor s |\n|---|---|---|")
    for way, found in runs.items():
        wall, used = (statistics.median(times) for times in zip(*found[1:], strict=True))
        print(f"| {way} | {wall:.2f} | {used:.2f} |")


def export(place: Path) -> None:
    """Train two heads on MiniLM, save the model and export it."""
    import manyheads as mh
    from benchmarks.data import HEADS, cut, minilm
    from manyheads.demo.samples import occupation_tasks

    model, rows = mh.HeadedModel.from_pretrained(minilm()), cut(occupation_tasks(), 300, 0)[0]
    for head in HEADS:
        labels = sorted(set(rows.column(head).to_pylist()))
        model.add_head(head, mh.Multiclass(labels=labels, reads=mh.Hidden(pool="mean")))
    mh.train(model, rows, text="text", method=mh.Frozen(cache=None))
    model.save_pretrained(place / "model")
    model.export_onnx(place / "onnx")


if __name__ == "__main__":
    main()
