"""Documents of 5,000 words whose label does not stand at their beginning: cut to the limit, or read in windows.

Run with ``python -m benchmarks.long_texts occupation_tasks.csv``. A frozen MiniLM head is trained on 2,000 single task
statements, of one of 22 occupation groups each. Documents are made of other statements. Of those after the first 800
words, 65% are of the document's group; all others are of any other group. In the second kind of document the same
statements are shuffled, the first ones included. With ``--words``, one document of so many words is predicted, and the
peak memory of the process is printed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

import manyheads as mh
from benchmarks.data import minilm, shuffled
from manyheads.data.tables.table import read_table

HEAD = "occupation_group"
TRAIN = 2000
WORDS = 5000
BEGINNING = 800
SHARE = 0.65
LENGTHS = (None, 128, 32)
WAYS = ("truncate", "mean", "max")


@dataclass(frozen=True)
class Statements:
    """Statements with their groups."""

    texts: np.ndarray
    groups: np.ndarray

    def draw(self, group: object, inside: bool, draw: np.random.Generator) -> str:
        """Return a statement of a group, or of another one."""
        return str(draw.choice(self.texts[(self.groups == group) == inside]))

    def document(self, group: object, draw: np.random.Generator) -> list[str]:
        """Return the statements of a document of ``WORDS`` words."""
        found: list[str] = []
        words = 0
        while words < WORDS:
            found.append(self.draw(group, words >= BEGINNING and draw.random() < SHARE, draw))
            words += len(found[-1].split())
        return found


def documents(rows: pa.Table, count: int, seed: int) -> tuple[list[list[str]], list[object]]:
    """Return documents and their groups, each group about equally often."""
    statements = Statements(*(np.array(rows.column(name).to_pylist(), dtype=object) for name in ("text", HEAD)))
    draw = np.random.default_rng(seed)
    known = sorted(set(statements.groups))
    groups = [known[at % len(known)] for at in draw.permutation(max(count, len(known)))[:count].tolist()]
    return [statements.document(group, draw) for group in groups], groups


def trained(train: pa.Table) -> mh.HeadedModel:
    """Return MiniLM with a head that was trained on single statements."""
    model = mh.HeadedModel.from_pretrained(minilm())
    model.add_head(HEAD, mh.Multiclass(labels=sorted(set(train.column(HEAD).to_pylist()))))
    mh.train(model, train, text="text", eval_fraction=0)
    return model


def compare(model: mh.HeadedModel, texts: Sequence[str], groups: Sequence[object], kind: str, cache: str) -> None:
    """Print the accuracy of each way to read the documents."""
    for length in LENGTHS:
        for way in WAYS:
            started = time.perf_counter()
            found = mh.Predictor(model, long_text=way, max_length=length, cache=cache)(texts)
            seconds = time.perf_counter() - started
            right = sum(row[HEAD].label == group for row, group in zip(found, groups, strict=True))
            told = f"{found.truncated.sum()} truncated, {found.split.sum()} split"
            windows = f"{found.windows.mean():.1f}"
            print(
                f"| {kind} | {length or 512} | {way} | {right} of {len(texts)} | {told} | {windows} | {seconds:.1f} |",
                flush=True,
            )


def print_memory(model: mh.HeadedModel, text: str) -> None:
    """Print the peak memory of the process before a text is predicted, and after."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = mh.Predictor(model, long_text="mean")([text])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{found.windows[0]} windows; peak memory {before / 1024:,.0f} MiB before, {after / 1024:,.0f} MiB after")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--words", type=int)
    options = parser.parse_args()
    rows = shuffled(read_table(options.table).to_arrow(), TRAIN + 15_000)
    model, others = trained(rows.slice(0, TRAIN)), rows.slice(TRAIN)
    if options.words:
        print_memory(model, " ".join(" ".join(others.column("text").to_pylist()).split()[: options.words]))
        return
    pieces, groups = documents(others, options.documents, options.seed)
    draw = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as cache:
        compare(model, [" ".join(own) for own in pieces], groups, "others first", cache)
        mixed = [" ".join(own[at] for at in draw.permutation(len(own))) for own in pieces]
        compare(model, mixed, groups, "mixed", cache)


if __name__ == "__main__":
    main()
