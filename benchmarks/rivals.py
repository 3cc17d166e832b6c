"""What a user would do instead: one model, or one classifier, per head."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from benchmarks.data import HEADS

# Strengths that a search tries, as C.
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def trainer(path: str, train: pa.Table, test: pa.Table) -> dict[str, float]:
    """Train one stock model per head with Trainer, backbone frozen, three epochs at batch 32, and evaluate it."""
    return {head: _one_trainer(path, head, train, test) for head in HEADS}


def _one_trainer(path: str, head: str, train: pa.Table, test: pa.Table) -> float:
    model = _classifier(path, head, train)
    for parameter in model.base_model.parameters():
        parameter.requires_grad_(False)
    return _trained(path, model, head, train, test, learning_rate=1e-2, per_device_train_batch_size=32,
                    per_device_eval_batch_size=32)  # fmt: skip


def fine_tuned(path: str, train: pa.Table, test: pa.Table, settings: Mapping[str, Any]) -> dict[str, float]:
    """Fine-tune one stock model per head, the whole of it, with Trainer as it comes but for the settings, and evaluate
    it."""
    return {head: _trained(path, _classifier(path, head, train), head, train, test, **settings) for head in HEADS}


def _classifier(path: str, head: str, train: pa.Table) -> Any:
    transformers.set_seed(0)
    labels = sorted(set(train.column(head).to_pylist()))
    return transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=len(labels))


def _trained(path: str, model: Any, head: str, train: pa.Table, test: pa.Table, **settings: Any) -> float:
    """Train in place for three epochs, and return the accuracy on the test rows."""
    labels = sorted(set(train.column(head).to_pylist()))
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)

    def encoded(rows: pa.Table) -> list[dict[str, Any]]:
        known = [row for row in rows.to_pylist() if row[head] in labels]
        tokens = tokenizer([row["text"] for row in known], truncation=True)
        return [
            {**{key: tokens[key][n] for key in tokens}, "labels": labels.index(row[head])}
            for n, row in enumerate(known)
        ]

    with tempfile.TemporaryDirectory() as folder:
        quiet = {
            "report_to": [],
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }
        run = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(output_dir=folder, num_train_epochs=3, **quiet, **settings),
            train_dataset=encoded(train),
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )
        run.remove_callback(transformers.trainer_callback.PrinterCallback)
        run.train()
        found = run.predict(encoded(test))
    return float((found.predictions.argmax(-1) == found.label_ids).sum() / test.num_rows)


def encoder(path: str) -> Any:
    """Return a SentenceTransformer; where the folder is a plain checkpoint, with a mean pooling of its own."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(path, device="cpu")


def embedded(path: str, train: pa.Table, test: pa.Table, heads: Sequence[str] = HEADS) -> dict[str, float]:
    """Encode with sentence-transformers; per head, the best of embedding, tf-idf and both, and of the strengths, on a
    fifth of the training rows; then LogisticRegression on all of them."""
    model = encoder(path)
    texts = [rows.column("text").to_pylist() for rows in (train, test)]
    dense = [csr_matrix(model.encode(part, show_progress_bar=False)) for part in texts]
    counter = TfidfVectorizer(sublinear_tf=True).fit(texts[0])
    words = [counter.transform(part).astype(np.float32) for part in texts]
    both = [csr_matrix(hstack(pair)) for pair in zip(dense, words, strict=True)]
    return {head: _searched([[m.toarray() for m in dense], words, both], head, train, test) for head in heads}


def embedded_once(path: str, train: pa.Table, test: pa.Table) -> dict[str, float]:
    """Encode with sentence-transformers; one LogisticRegression per head, at its default strength."""
    model = encoder(path)
    known, asked = (model.encode(rows.column("text").to_pylist(), show_progress_bar=False) for rows in (train, test))
    return {head: _fitted(known, asked, head, train, test, 1.0) for head in HEADS}


def words_alone(train: pa.Table, test: pa.Table) -> dict[str, float]:
    """Tf-idf, and LogisticRegression at the best strength, per head."""
    texts = [rows.column("text").to_pylist() for rows in (train, test)]
    counter = TfidfVectorizer(sublinear_tf=True).fit(texts[0])
    return {head: _searched([[counter.transform(part) for part in texts]], head, train, test) for head in HEADS}


def _searched(ways: Sequence[Sequence[Any]], head: str, train: pa.Table, test: pa.Table) -> float:
    labels = np.array(train.column(head).to_pylist(), dtype=object)
    kept, held_out = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0)
    best: tuple[float, Sequence[Any], float] = (-1.0, ways[0], 1.0)
    for known, asked in ways:
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=1000).fit(known[kept], labels[kept])
            best = max(
                best, (model.score(known[held_out], labels[held_out]), (known, asked), strength), key=lambda x: x[0]
            )
    _, (known, asked), strength = best
    return _fitted(known, asked, head, train, test, strength)


def _fitted(known: Any, asked: Any, head: str, train: pa.Table, test: pa.Table, strength: float) -> float:
    model = LogisticRegression(C=strength, max_iter=1000).fit(known, train.column(head).to_pylist())
    return float(model.score(asked, test.column(head).to_pylist()))


def pipelines(paths: Sequence[str], texts: Sequence[str], batch_size: int) -> list[list[dict[str, Any]]]:
    """Predict with one ``pipeline("text-classification")`` per head."""
    found = []
    for path in paths:
        pipe = transformers.pipeline("text-classification", model=path, device="cpu")
        with torch.inference_mode():
            found.append(pipe(list(texts), batch_size=batch_size, truncation=True))
    return found
