"""Public files that nobody here wrote: read, counted independently, trained and scored on MiniLM.

Run with ``python -m benchmarks.public_files FOLDER``, where the folder has the files named in ``FILES``; absent files
are skipped.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import transformers

import manyheads as mh
from benchmarks.data import minilm
from manyheads.data.tables.table import Table, read_table
from manyheads.heads import HeadSpec

FEWEST_ROWS, MOST_ROWS = 20, 1500


@dataclass(frozen=True)
class PublicFile:
    """A file to try.

    Attributes:
        name: Its name in the folder.
        source: Where it comes from; a header line was added where the file has none.
        text: Its text column.
        labels: Its label columns.
        quoted: Whether it follows the CSV standard, for the independent count.
    """

    name: str
    source: str
    text: str
    labels: tuple[str, ...]
    quoted: bool = True


FILES = (
    PublicFile("davidson.csv", "t-davidson/hate-speech-and-offensive-language, labeled_data.csv", "tweet", ("class",)),
    PublicFile("irony.tsv", "Cyvhee/SemEval2018-Task3, train-taskB.txt", "Tweet text", ("Label",), quoted=False),
    PublicFile("germeval.tsv", "uds-lsv/GermEval-2018-Data, training.txt", "text", ("coarse", "fine"), quoted=False),
    PublicFile("banking.csv", "PolyAI-LDN/task-specific-datasets, banking_data/train.csv", "text", ("category",)),
    PublicFile("nlupp.json", "PolyAI-LDN/task-specific-datasets, nlupp/data/banking/fold0.json", "text", ("intents",)),
    PublicFile("atis.csv", "joaopcnogueira/building-chatbots-with-python, atis_intents.csv", "sentences", ("intents",)),
    PublicFile("sms.tsv", "UCI SMS Spam Collection", "text", ("label",), quoted=False),
    PublicFile(
        "doccano_text_classification_example.csv",
        "doccano/doccano, text_classification/example.csv",
        "column_data",
        ("column_label",),
    ),
    PublicFile(
        "doccano_text_classification_example.json",
        "doccano/doccano, text_classification/example.json",
        "column_data",
        ("column_label",),
    ),
    PublicFile(
        "doccano_text_classification_example.jsonl",
        "doccano/doccano, text_classification/example.jsonl",
        "column_data",
        ("column_label",),
    ),
    PublicFile(
        "doccano_sequence_labeling_example.jsonl",
        "doccano/doccano, sequence_labeling/example.jsonl",
        "column_data",
        ("column_label",),
    ),
)


def counted(path: Path, quoted: bool) -> int:
    """Return the number of rows, by the standard library alone."""
    if path.suffix == ".json":
        return len(json.loads(path.read_text("utf-8")))
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl" or not quoted:
            return sum(bool(line.strip()) for line in file) - (path.suffix != ".jsonl")
        return sum(bool(row) for row in csv.reader(file)) - 1


def tried(file: PublicFile, path: Path) -> str:
    """Return one row of the table."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = read_table(path)
        heads = mh.infer_heads(table, list(file.labels))
        scores = _scores(table, file.text, heads) if table.rows >= FEWEST_ROWS else "too few rows"
    rules = "; ".join(heads.rules)
    warned = "; ".join(dict.fromkeys(str(one.message).split(":")[1].strip()[:60] for one in told))
    count = counted(path, file.quoted)
    rows = f"{table.rows:,}" if count == table.rows else f"**{table.rows:,}, counted {count:,}**"
    return f"| {file.source} | {rows} | {rules} | {scores} | {warned} |"


def _scores(table: Table, text: str, heads: Mapping[str, HeadSpec]) -> str:
    model = mh.HeadedModel.from_pretrained(minilm())
    for name, spec in heads.items():
        model.add_head(name, spec)
    result = mh.train(model, _first(table), text, eval_fraction=0.2)
    return "; ".join(
        f"{name}: {key} {value:.3f}"
        for name, values in result.metrics.items()
        for key, value in list(values.items())[1:2]
    )


def _first(table: Table) -> Table:
    return table.select(range(0, table.rows, max(1, table.rows // MOST_ROWS)))


def main() -> None:
    """Print the table."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print("| file | rows | inferred | score of a fifth held out | warnings |\n|---|---|---|---|---|")
    for file in FILES:
        path = Path(sys.argv[1]) / file.name
        if path.exists():
            print(tried(file, path), flush=True)


if __name__ == "__main__":
    main()
