"""What a classifier gains from the LM head: SmolLM2-135M, chapters of diagnoses, few rows per label.

Run with ``python -m benchmarks.lm_heads FOLDER icd10cm.csv``; ``benchmarks.smollm2`` makes the folder. Training rows
are drawn per label (one label has five rows in all), test rows from all others; each seed draws both anew.
"""

from __future__ import annotations

import re
import sys
import tempfile

import numpy as np
import pyarrow as pa

import manyheads as mh
from manyheads.data.tables.table import read_table

PROMPT = "Diagnosis:\n{text}\nICD-10 chapter:"
COUNTS = (1, 8, 64)
SEEDS = (1, 2, 3, 4, 5)
TEST = 1000
# Of a mean's standard error, for 95% with so many seeds (Student's t).
_T = {3: 4.30, 5: 2.78}


def main(folder: str, table: str) -> None:
    """Print accuracies by way and rows per label, and what each way gains over the start at zero, seed by seed."""
    rows = read_table(table).to_arrow()
    reached: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for seed in SEEDS:
            for place, accuracy in _seed(folder, rows, seed, mh.Frozen(cache=cache)).items():
                reached.setdefault(place, []).append(accuracy)
            print(f"seed {seed} done", file=sys.stderr, flush=True)
    _print(reached)


def _heads(labels: list[str]) -> dict[str, mh.Multiclass]:
    """Return the ways to classify, by name. A label's code range is no word of any language."""
    words = {label: re.sub(r" \([^)]*\)$", "", label) for label in labels}

    def head(**settings: object) -> mh.Multiclass:
        return mh.Multiclass(labels, column="chapter", **settings)  # type: ignore[arg-type]

    asked = mh.Hidden(prompt=PROMPT)
    return {
        "no prompt": head(reads=mh.Hidden()),
        "prompt": head(reads=asked),
        "prompt, init='lm_head'": head(reads=asked, init="lm_head", label_words=words),
        "prompt, LMLogits(top_k=1024)": head(reads=mh.LMLogits(prompt=PROMPT, top_k=1024)),
        "prompt, zero_shot": head(reads=asked, zero_shot=True, label_words=words),
    }


def _seed(folder: str, rows: pa.Table, seed: int, method: mh.Frozen) -> dict[tuple[str, int], float]:
    order = np.random.default_rng(seed).permutation(rows.num_rows)
    chapters = np.array(rows.column("chapter").to_pylist())
    test, rest = order[:TEST], order[TEST:]
    labels = sorted(set(chapters.tolist()))
    by_label = [rest[chapters[rest] == label] for label in labels]
    model = mh.HeadedModel.from_pretrained(folder)
    ways = _heads(labels)
    for number, (name, spec) in enumerate(ways.items()):
        model.add_head(f"head{number}", spec)
        assert list(ways)[number] == name
    wanted = rows.take(test)
    zero_shot = model.predict(wanted.column("text").to_pylist(), heads=["head4"])
    guesses = [one["head4"].label for one in zero_shot]
    found = {("prompt, zero_shot", 0): float(np.mean(np.array(guesses) == chapters[test]))}
    for count in COUNTS:
        few = rows.take(np.concatenate([one[:count] for one in by_label]))
        names = [f"head{number}" for number in range(4)]
        result = mh.train(model, few, text="text", heads=names, eval_data=wanted, method=method)
        for number, name in enumerate(ways):
            if number < 4:
                found[name, count] = result.metrics[f"head{number}"]["accuracy"]
    return found


def _print(reached: dict[tuple[str, int], list[float]]) -> None:
    print("| | " + " | ".join(f"{count} rows per label" for count in (0, *COUNTS)) + " |")
    print("|---|" + "---|" * (1 + len(COUNTS)))
    for name in dict.fromkeys(name for name, _ in reached):
        cells = [_interval(reached[name, count]) if (name, count) in reached else "" for count in (0, *COUNTS)]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, other in (
        ("prompt, init='lm_head'", "prompt"),
        ("prompt, LMLogits(top_k=1024)", "prompt"),
        ("prompt", "no prompt"),
    ):
        gains = [np.subtract(reached[name, count], reached[other, count]).tolist() for count in COUNTS]
        print(f"| {name}, less {other} | | {' | '.join(map(_interval, gains))} |")


def _interval(values: list[float]) -> str:
    """Return a mean and the half width of its 95% interval over the seeds."""
    half = _T[len(values)] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{np.mean(values):.3f} ± {half:.3f}"


if __name__ == "__main__":
    main(*sys.argv[1:3])
