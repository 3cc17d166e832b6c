"""``Auto`` against ``Frozen`` on the same rows: main metric and log loss on test rows, the choice, and the time.

Run with ``python -m benchmarks.auto PATH HEAD[,HEAD] [training rows] [test rows] [minutes] [seed]``, where PATH is a
table with the column ``text``, or a folder with ``train.jsonl`` and ``test.jsonl``. ``keep_lm=False`` as a further
argument tries ``Full`` too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pyarrow as pa
import transformers

import manyheads as mh
from benchmarks.data import minilm, rows_of
from manyheads.heads import HeadSpec


def report(name: str, specs: Mapping[str, HeadSpec], result: mh.TrainResult) -> None:
    """Print one row of the table; a head without a log loss has none."""
    cells = [
        f"{result.metrics[head][spec.main_metric]:.3f} | {result.metrics[head].get('log_loss', float('nan')):.3f}"
        for head, spec in specs.items()
    ]
    print(f"| {name} | {' | '.join(cells)} | {result.seconds:.0f} |", flush=True)


def main() -> None:
    """Print the table, and what ``Auto`` compared."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    keep_lm = "keep_lm=False" not in sys.argv
    path, names, *rest = [value for value in sys.argv[1:] if value != "keep_lm=False"]
    heads = names.split(",")
    train_rows, test_rows, minutes, seed = (float(value) for value in (rest + ["2000", "1000", "5", "0"][len(rest) :]))
    both = rows_of(Path(path), int(train_rows), int(test_rows), int(seed))
    train, test = (part.select(["text", *heads]) for part in both)
    specs = mh.infer_heads(pa.concat_tables([train, test]), heads)
    print(
        f"| method | {' | '.join(f'{name}: {spec.main_metric} | log loss' for name, spec in specs.items())} | seconds |"
    )
    print(f"|{'---|' * (2 * len(heads) + 2)}")
    methods = {"Frozen": mh.Frozen(), "Auto": mh.Auto(minutes=minutes, keep_lm=keep_lm)}
    for name, method in methods.items():
        model = mh.HeadedModel.from_pretrained(minilm())
        for head, spec in specs.items():
            model.add_head(head, spec)
        result = mh.train(model, train, text="text", method=method, eval_data=test, seed=int(seed))
        report(name, specs, result)
    print("", *result.notes, sep="\n")


if __name__ == "__main__":
    main()
