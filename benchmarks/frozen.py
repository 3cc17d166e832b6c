"""Two frozen heads against what a user would do instead: whole runs, loading and evaluation included.

Run with ``python -m benchmarks.frozen [occupation_tasks.csv]``. ``cold`` starts without a cache; ``warm`` trains other
heads, with other settings, on texts that an earlier run has read.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pyarrow as pa
import torch
import transformers

import manyheads as mh
from benchmarks import rivals
from benchmarks.compare import alternate, table
from benchmarks.data import HEADS, bert_base, draw, minilm

COLD, WARM = "manyheads, reads='auto', cold cache", "manyheads, reads='auto', warm cache, class weights balanced"


def ours(path: str, train: pa.Table, test: pa.Table, cache: Path, balanced: bool = False) -> dict[str, float]:
    """Load, infer, search, train both heads in one pass, evaluate."""
    model = mh.HeadedModel.from_pretrained(path)
    for name, spec in mh.infer_heads(pa.concat_tables([train, test]), list(HEADS)).items():
        weights = "balanced" if balanced else None
        model.add_head(name, mh.Multiclass(labels=spec.labels, class_weights=weights))  # type: ignore[attr-defined]
    result = mh.train(model, train, text="text", eval_data=test, method=mh.Frozen(cache=cache))
    return {name: result.metrics[name]["accuracy"] for name in HEADS}


def compared(path: str, train: pa.Table, test: pa.Table, folder: Path, repeats: int, with_encoder: bool) -> str:
    """Return the table of one backbone and one table of texts."""
    warm = folder / "warm"
    ours(path, train, test, warm)

    def cold() -> dict[str, float]:
        shutil.rmtree(folder / "cold", ignore_errors=True)
        return ours(path, train, test, folder / "cold")

    ways: dict[str, Callable[[], dict[str, float]]] = {
        COLD: cold,
        WARM: lambda: ours(path, train, test, warm, balanced=True),
        "Trainer, frozen backbone, 3 epochs, one run per head": lambda: rivals.trainer(path, train, test),
        "sentence-transformers + LogisticRegression, searched": lambda: rivals.embedded(path, train, test),
        "sentence-transformers + LogisticRegression, C=1": lambda: rivals.embedded_once(path, train, test),
        "TF-IDF + LogisticRegression, searched": lambda: rivals.words_alone(train, test),
    }
    if not with_encoder:
        ways = {name: way for name, way in ways.items() if "sentence" not in name and "TF-IDF" not in name}
    timed = alternate(ways, repeats)
    shown = {name: " / ".join(f"{value:.3f}" for value in entry.result.values()) for name, entry in timed.items()}  # type: ignore[attr-defined]
    return table(timed, COLD, shown)


def main() -> None:
    """Print the tables."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads\n")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # Every way once on a few rows, so that no import or first-time set-up is timed.
        compared(minilm(), *draw(200, 50), folder / "few", 1, with_encoder=True)
        cases = {
            "MiniLM, short texts, 2,000 / 1,000 rows": (minilm(), draw(), 3, True),
            "MiniLM, long texts (ten joined), 150 / 75 rows": (minilm(), draw(150, 75, joined=10), 3, True),
            "BERT-base-shaped, random, short texts, 150 / 75 rows": (bert_base(folder), draw(150, 75), 3, False),
        }
        for place_in_row, (name, (path, rows, repeats, with_encoder)) in enumerate(cases.items()):
            print(
                f"## {name}\n\n{compared(path, *rows, folder / str(place_in_row), repeats, with_encoder)}\n", flush=True
            )


if __name__ == "__main__":
    sys.exit(main())
