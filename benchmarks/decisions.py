"""How often the language model answers obvious questions correctly, with and without calibration by an empty state.

30 questions of which nobody doubts the answer. The prompt of ``server/systemone/prompts.py`` was chosen by them.

Run with ``python -m benchmarks.decisions FOLDER``; ``benchmarks.smollm2`` makes the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import manyheads as mh
from manyheads.core import HeadedCore
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.inference import Scorer
from manyheads.server.systemone.prompts import PromptedQuestion
from manyheads.server.systemone.questions import Question
from manyheads.server.systemone.zero_shot import zero_shot_head

QUESTIONS: list[tuple[dict[str, Any], list[tuple[str, object]]]] = [
    (
        {"type": "noul", "instructions": "Is the customer asking for a refund?"},
        [
            ("I was charged twice for my March invoice and I want my money back. Please refund me today.", True),
            ("Thanks so much, everything works perfectly now!", False),
        ],
    ),
    (
        {"type": "noul", "instructions": "Is this message spam?"},
        [
            ("Win a free iPhone!!! Click this link now to claim your prize.", True),
            ("Hi Anna, shall we have lunch on Tuesday?", False),
        ],
    ),
    (
        {"type": "noul", "instructions": "Does the patient have chest pain?"},
        [
            ("The patient has had severe chest pain for two hours.", True),
            ("The patient has a mild rash on the left arm.", False),
        ],
    ),
    (
        {"type": "noul", "instructions": "Did the writer like the film?"},
        [
            ("The film was wonderful, I loved every minute of it.", True),
            ("The film was terrible, I hated every minute of it.", False),
        ],
    ),
    (
        {
            "type": "noul",
            "instructions": "The customer cannot log in.",
            "criteria": {"true": "Login problem", "false": "Anything else"},
        },
        [("My password does not work and I cannot log in.", True), ("Where can I buy more seats for my team?", False)],
    ),
    (
        {
            "type": "choice",
            "instructions": "Which team should handle this ticket?",
            "criteria": {
                "Billing": "Payments, invoices, refunds",
                "Technical": "Bugs, outages, integrations",
                "Sales": "Pricing questions, upgrades, new contracts",
            },
        },
        [
            ("I was charged twice for my March invoice and I want my money back. Please refund me today.", "Billing"),
            ("The app crashes with an error each time I open it.", "Technical"),
            ("We would like a quote for 50 new licenses.", "Sales"),
        ],
    ),
    (
        {
            "type": "choice",
            "instructions": "What is the topic of this text?",
            "criteria": {"sports": None, "politics": None, "cooking": None, "science": None},
        },
        [
            ("The team won the match by three goals to one.", "sports"),
            ("The president signed the law after the vote in parliament.", "politics"),
            ("Add the onions and garlic and fry them in butter for five minutes.", "cooking"),
            ("The telescope found water on a planet far from the sun.", "science"),
        ],
    ),
    (
        {
            "type": "choice",
            "instructions": "What language is this text in?",
            "criteria": {"English": None, "French": None, "German": None},
        },
        [
            ("Le chat dort sur la chaise.", "French"),
            ("Der Hund schläft im Garten.", "German"),
            ("The dog sleeps in the garden.", "English"),
        ],
    ),
    (
        {
            "type": "choice",
            "instructions": "What does the writer feel?",
            "criteria": {"joy": None, "anger": None, "fear": None, "sadness": None},
        },
        [
            ("I am so happy, this is the best day of my life!", "joy"),
            ("How dare you! I am furious about this!", "anger"),
        ],
    ),
    (
        {
            "type": "score",
            "instructions": "How satisfied is the customer?",
            "criteria": ["Not satisfied", "Somewhat satisfied", "Very satisfied"],
        },
        [
            ("Best product I have ever bought. Perfect. Five stars!", 2),
            ("Awful. It broke on the first day. Never again.", 0),
        ],
    ),
    (
        {
            "type": "score",
            "instructions": "How urgent is this message?",
            "criteria": ["Can wait", "This week", "Today"],
        },
        [("No hurry at all, answer whenever you like.", 0), ("The building is on fire, send help right now!", 2)],
    ),
    (
        {
            "type": "score",
            "instructions": "How frustrated is the customer?",
            "criteria": ["Calm", "Frustrated", "Very angry"],
        },
        [("Thank you kindly, have a lovely weekend.", 0), ("This is outrageous! I will sue you idiots!", 2)],
    ),
    (
        {"type": "score", "instructions": "How strong is the pain?", "criteria": ["none", "mild", "severe"]},
        [("He has no pain at all.", 0), ("He screams in agony, the worst pain of his life.", 2)],
    ),
]


def right_place(question: dict[str, Any], right: object) -> int:
    """Return the place of the right answer among the options."""
    if question["type"] == "noul":
        return 0 if right else 1
    return list(question["criteria"]).index(right) if question["type"] == "choice" else int(str(right))


def answered(model: mh.HeadedModel) -> Iterator[tuple[str, bool, bool]]:
    """Yield the type of each question, and whether its answer is right with and without calibration."""
    for question, cases in QUESTIONS:
        head = zero_shot_head(model.core, PromptedQuestion.of(Question.model_validate(question)))
        core = HeadedCore(model.core.backbone).eval()
        core.heads.add("asked", head)
        scorer = Scorer(core, model.tokenizer)
        for text, right in cases:
            logits = np.asarray(scorer(read_texts_from_list([text])).logits["asked"])[0]
            place, plain = right_place(question, right), logits - head.output.bias.detach().numpy()
            yield question["type"], int(logits.argmax()) == place, int(plain.argmax()) == place


def main(folder: str) -> None:
    """Print the number of right answers by type of question."""
    torch.set_num_threads(1)
    found = list(answered(mh.HeadedModel.from_pretrained(folder)))
    print("| type | questions | right, calibrated | right, not calibrated |\n|---|---|---|---|")
    for kind in ("noul", "choice", "score"):
        own = [(with_it, without) for name, with_it, without in found if name == kind]
        print(f"| {kind} | {len(own)} | {sum(one for one, _ in own)} | {sum(other for _, other in own)} |")


if __name__ == "__main__":
    main(sys.argv[1])
