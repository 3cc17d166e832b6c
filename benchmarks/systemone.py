"""Several questions asked at once, of heads or of the language model, against a request per question.

Through the whole server in one process, without a network: 3 questions to 3 heads in one request, against 3 requests
with one question each to the language model; and 6 questions to the language model in one request, against 6 requests.
CPU time of one thread, which other programs on the machine change little.

Run with ``python -m benchmarks.systemone FOLDER [states] [rounds]``; ``benchmarks.smollm2`` makes the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from starlette.testclient import TestClient

import manyheads as mh
from benchmarks.compare import alternate
from manyheads.server import create_app

STATES = 16
ROUNDS = 5
HEADS = {
    "team": ["billing", "technical", "sales"],
    "language": ["english", "german", "french"],
    "tone": ["calm", "angry", "happy"],
}
ASKED = {
    "team": "Which team should handle this message?",
    "language": "What language is this message in?",
    "tone": "What is the tone of this message?",
}
MORE = {
    "refund": {"type": "noul", "instructions": "Is the customer asking for money back?"},
    "urgent": {"type": "noul", "instructions": "Does the customer need an answer today?"},
    "anger": {
        "type": "score",
        "instructions": "How angry is the customer?",
        "criteria": ["calm", "annoyed", "furious"],
    },
}
_SENTENCES = (
    "I was charged twice for my invoice of March.",
    "The refund that was promised last week has not arrived yet.",
    "Since the update the application closes as soon as I open a report.",
    "I have written three times and nobody has answered me.",
    "Please tell me how many more seats we can buy at the same price.",
    "If this is not solved today, I will speak to my bank.",
    "Thank you for your help, your colleague was very kind.",
)


def states(count: int) -> list[str]:
    """Return messages of about 75 tokens, all different."""
    return [" ".join(islice(cycle(_SENTENCES), place, place + 6)) + f" Order {place}." for place in range(count)]


def headed(folder: str) -> mh.HeadedModel:
    """Return the model with three heads, trained on labels in turn: their quality makes no difference here."""
    model = mh.HeadedModel.from_pretrained(folder, dtype="float32")
    rows = [
        {"text": text} | {name: labels[row % 3] for name, labels in HEADS.items()}
        for row, text in enumerate(states(60))
    ]
    for name, labels in HEADS.items():
        model.add_head(name, mh.Multiclass(labels, reads=mh.Hidden()))  # the last layer: all blocks run
    mh.train(model, rows, text="text", method=mh.Frozen(), eval_fraction=0)
    return model


def prompted() -> dict[str, dict[str, Any]]:
    """Return the questions of the heads as questions to the language model."""
    return {
        f"asked {name}": {"type": "choice", "instructions": ASKED[name], "criteria": dict.fromkeys(labels)}
        for name, labels in HEADS.items()
    }


def ways(client: TestClient, texts: Sequence[str]) -> dict[str, Callable[[], object]]:
    """Return the ways to compare."""

    def ask(questions: Mapping[str, Any]) -> None:
        for text in texts:
            body = {"model": "jev-latest", "state": text, "questions": questions}
            client.post("/v1/systemone", json=body).raise_for_status()

    def ask_each(questions: Mapping[str, Any]) -> None:
        for name, question in questions.items():
            ask({name: question})

    few, many = prompted(), prompted() | MORE
    return {
        "3 heads, one request": lambda: ask({name: {"type": "choice"} for name in HEADS}),
        "3 questions to the language model, 3 requests": lambda: ask_each(few),
        "6 questions to the language model, one request": lambda: ask(many),
        "6 questions to the language model, 6 requests": lambda: ask_each(many),
    }


def main(folder: str, count: int = STATES, rounds: int = ROUNDS) -> None:
    """Print the median time per state of each way, and the two ratios."""
    torch.set_num_threads(1)
    with TestClient(create_app(headed(folder))) as client:
        compared = ways(client, states(count))
        alternate(compared, 1)  # not counted: calibrates the questions
        medians = [timed.processor_median / count for timed in alternate(compared, rounds).values()]
    print("| way | ms per state |\n|---|---|")
    for name, median in zip(compared, medians, strict=True):
        print(f"| {name} | {1000 * median:.0f} |")
    print(f"\nheads: {medians[1] / medians[0]:.2f}x, shared state: {medians[3] / medians[2]:.2f}x")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
