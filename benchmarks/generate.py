"""What predictions cost beside generation: SmolLM2-135M in fp32, two heads, 32 new tokens per diagnosis.

CPU time of one thread, which other programs on the machine change little.

Run with ``python -m benchmarks.generate FOLDER icd10cm.csv``; ``benchmarks.smollm2`` makes the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pyarrow as pa
import torch

import manyheads as mh
from benchmarks.compare import alternate
from benchmarks.data import cut

NEW_TOKENS = 32
ROUNDS = 7
OPTIONS = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}


def ways(model: mh.HeadedModel, prompts: list[str]) -> dict[str, Callable[[], object]]:
    """Return the ways to compare: generation alone, predictions from its prefill, and predictions after it."""
    tokenizer = model.tokenizer

    def generate() -> list[str]:
        batch = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
        sequences = model.generate(**batch, **OPTIONS)
        return tokenizer.batch_decode(sequences[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)

    return {
        "generate": generate,
        "generate_and_predict": lambda: model.generate_and_predict(prompts, **OPTIONS),
        "generate, then predict": lambda: (generate(), model.predict(prompts)),
    }


def headed(folder: str, rows: pa.Table) -> mh.HeadedModel:
    """Return the model with two heads, trained on a few rows: their quality makes no difference here."""
    model = mh.HeadedModel.from_pretrained(folder, dtype="float32")
    for column in ("chapter", "billable"):
        labels = sorted(set(rows.column(column).to_pylist()))
        model.add_head(column, mh.Multiclass(labels, reads=[mh.Hidden(), mh.Hidden(layer=-6, pool="mean")]))
    mh.train(model, rows, text="text", method=mh.Frozen(), eval_fraction=0)
    return model


def main(folder: str, table: str) -> None:
    """Print the median time of each way over that of generation alone, for one prompt and for several."""
    torch.set_num_threads(1)
    train, test = cut(table, 100, 64)
    model = headed(folder, train)
    print("| prompts per batch | generate, s | generate_and_predict | generate, then predict |\n|---|---|---|---|")
    for size in (1, 8):
        compared = ways(model, test.column("text").to_pylist()[:size])
        alternate(compared, 1)  # not counted
        medians = {name: timed.processor_median for name, timed in alternate(compared, ROUNDS).items()}
        alone = medians.pop("generate")
        shown = " | ".join(f"{median / alone:.3f}" for median in medians.values())
        print(f"| {size} | {alone:.2f} | {shown} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
