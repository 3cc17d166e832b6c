"""Stock ``AutoModelForTokenClassification`` on the rows that ``benchmarks.rates`` draws: a user's way to slots.

Run with ``python -m benchmarks.stock_tags FOLDER [training rows] [rate] [epochs]``, where FOLDER has ``train.jsonl``
and ``test.jsonl`` with the columns ``words`` and ``slots``. MiniLM, the first token of each word, batches of 16 with
rows of similar length, bf16 autocast, AdamW, warm-up and linear decay as in ``Full``; seqeval's F1 on 700 test rows.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import seqeval.metrics
import torch
import transformers

from benchmarks.data import minilm, rows_of

BATCH = 16
Rows = list[dict[str, Any]]


def batches(rows: Rows, epoch: int) -> Iterator[Rows]:
    """Yield batches in a random order, of similar length within 50 batches."""
    order = np.random.default_rng(epoch).permutation(len(rows))
    for start in range(0, len(rows), 50 * BATCH):
        chunk = sorted((rows[place] for place in order[start : start + 50 * BATCH]), key=lambda row: -len(row["words"]))
        yield from (chunk[first : first + BATCH] for first in range(0, len(chunk), BATCH))


def encoded(rows: Rows, tokenizer: Any, tags: Sequence[str]) -> dict[str, Any]:
    """Return inputs and labels; tokens behind the first of a word have none."""
    inputs = tokenizer([row["words"] for row in rows], is_split_into_words=True, padding=True, return_tensors="pt")
    labels = torch.full(inputs["input_ids"].shape, -100)
    for place, row in enumerate(rows):
        words = inputs.word_ids(place)
        for token, word in enumerate(words):
            if word is not None and word != words[token - 1]:
                labels[place, token] = tags.index(row["slots"][word])
    return {**inputs, "labels": labels}


@torch.no_grad()
def entity_f1(model: Any, rows: Rows, tokenizer: Any, tags: Sequence[str]) -> float:
    """Return seqeval's F1 of each token's most probable tag."""
    model.eval()
    true, found = [], []
    for start in range(0, len(rows), 50):
        inputs = encoded(rows[start : start + 50], tokenizer, tags)
        for labels, best in zip(inputs["labels"], model(**inputs).logits.argmax(-1), strict=True):
            true.append([tags[tag] for tag in labels[labels != -100]])
            found.append([tags[tag] for tag in best[labels != -100]])
    return float(seqeval.metrics.f1_score(true, found))


def main() -> None:
    """Print the F1 after each epoch."""
    folder, *rest = sys.argv[1:]
    count, rate, epochs = (float(value) for value in (rest + ["2000", "3e-4", "3"][len(rest) :]))
    transformers.logging.set_verbosity_error()
    train, test = (part.to_pylist() for part in rows_of(Path(folder), int(count), 700, 0))
    tags = sorted({tag for row in train + test for tag in row["slots"]})
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    torch.manual_seed(0)
    model = transformers.AutoModelForTokenClassification.from_pretrained(minilm(), num_labels=len(tags))
    steps = math.ceil(len(train) / BATCH) * int(epochs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.06 * steps), steps)
    for epoch in range(int(epochs)):
        model.train()
        for rows in batches(train, epoch):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**encoded(rows, tokenizer, tags)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        print(f"epoch {epoch + 1}: entity F1 {entity_f1(model, test, tokenizer, tags):.4f}", flush=True)


if __name__ == "__main__":
    main()
