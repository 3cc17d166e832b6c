"""Tables and tiny checkpoints for everything that the documentation shows."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from tests.families import BY_NAME, TEXTS, Family, save_family, tokenizer_for

# Name in the documentation -> tiny checkpoint.
CHECKPOINTS = {"bert-base-german-cased": "bert", "path/to/triage-gpt2": "gpt2", "google-t5/t5-small": "t5"}
URGENCY = {"mild": "routine", "severe": "urgent", "sudden": "emergency"}
COMPLAINTS = {"cough": ["cough"], "fever": ["fever"], "chest pain": ["pain"], "fever and cough": ["fever", "cough"]}
TAGS = {"cough": "B-symptom", "fever": "B-symptom", "chest": "B-symptom", "pain": "I-symptom"}


def triage_table() -> list[dict[str, object]]:
    """Return 24 triage notes with a column for every kind of head."""
    rows: list[dict[str, object]] = []
    for severity, complaint, time in product(URGENCY, COMPLAINTS, ("since two hours", "for three days")):
        note = f"{severity} {complaint} {time}"
        rows.append(
            {
                "note": note,
                "urgency": URGENCY[severity],
                "age": 20 + 3 * len(rows),
                "symptoms": COMPLAINTS[complaint],
                "tags": [TAGS.get(word, "O") for word in note.split()],
            }
        )
    return rows


def write_csv(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    """Write a CSV file from columns of equal length."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_tables(folder: Path) -> None:
    """Write ``ads.csv``, ``notes.csv``, ``valid.csv`` with further notes, and ``new.csv``."""
    texts = [f"{text} {number}" for number in range(3) for text in TEXTS]
    rows = range(len(texts))
    job_types = [("full time", "part time", "")[row % 3] for row in rows]
    levels = [("school", "training", "degree")[row // 2 % 3] for row in rows]
    write_csv(folder / "ads.csv", {"ad": texts, "job_type": job_types, "education": levels})
    urgencies = [("routine", "urgent", "emergency")[row % 3] for row in rows]
    notes = [f"{text} , takes metformin" for text in texts]  # a word that tokenizers split
    write_csv(folder / "notes.csv", {"note": notes, "urgency": urgencies, "wait": [row % 7 + 0.5 for row in rows]})
    write_csv(folder / "valid.csv", {"note": TEXTS, "urgency": urgencies[: len(TEXTS)]})
    write_csv(folder / "new.csv", {"id": range(6), "ad": TEXTS[:6], "note": TEXTS[:6]})


def link_checkpoints(folder: Path, checkpoints: Path) -> None:
    """Put links to the saved checkpoints under the names by which pages and scripts load them."""
    for name, checkpoint in CHECKPOINTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(checkpoints / checkpoint)


def save_bert_with_pooler(folder: Path, family: Family = BY_NAME["bert"]) -> Path:
    """Save a checkpoint like bert-base-german-cased: it holds a pooler, and its config names a class without one."""
    family.build(model_class="BertForPreTraining").save_pretrained(folder)
    tokenizer_for(family).save_pretrained(folder)
    config = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(config.replace("BertForPreTraining", "BertForMaskedLM"), "utf-8")
    return folder


def save_checkpoints(folder: Path) -> None:
    """Save the tiny checkpoints ``gpt2``, ``t5`` and ``bert``."""
    for name in ("gpt2", "t5"):
        save_family(BY_NAME[name], folder / name)
    save_bert_with_pooler(folder / "bert")
