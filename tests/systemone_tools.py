"""A tiny language model with heads, and a real server in this process, for tests of typed questions."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from granian.server.embed import Server
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import manyheads as mh
from tests.families import BY_NAME, TEXTS, WORDS

LONGEST = 16384
VOCABULARY = 512  # all bytes, and common words as single tokens

ROWS = [
    {
        "note": f"{text} {number}",
        "level": ("routine", "urgent", "emergency")[row % 3],
        "topic": ("pain", "fever", "other")[(row + number) % 3],
        "known": ("yes", "no")[row % 2],
        "symptoms": ["pain", "fever"][: (row + number) % 3],
        "age": float(row + number),
        "found": [(found.start(), found.end(), "symptom") for found in re.finditer("pain|cough|fever", text)],
    }
    for number in range(2)
    for row, text in enumerate(TEXTS)
]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes and their pairs, that can encode any text, unlike those of the tiny families."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = list(BY_NAME["qwen2"].specials.tokens)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" " + " ".join(WORDS), *TEXTS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=LONGEST, **BY_NAME["qwen2"].specials.roles
    )


def language_model() -> mh.HeadedModel:
    """Return a tiny language model that reads any text."""
    model = BY_NAME["qwen2"].build(max_position_embeddings=LONGEST, vocab_size=VOCABULARY)
    return mh.HeadedModel.wrap(model, byte_tokenizer())


def with_heads(model: mh.HeadedModel) -> mh.HeadedModel:
    """Return the model with one trained head of each kind."""
    reads = mh.Hidden(pool="mean")
    specs: dict[str, Any] = {
        "level": mh.Ordinal(["routine", "urgent", "emergency"], reads=reads),
        "topic": mh.Multiclass(["pain", "fever", "other"], reads=reads),
        "known": mh.Multiclass(["no", "yes"], reads=reads),
        "symptoms": mh.MultiLabel(["pain", "fever"], reads=reads),
        "age": mh.Regression(reads=reads),
        "found": mh.Tokens(["symptom"], reads=mh.Hidden()),
    }
    for name, spec in specs.items():
        model.add_head(name, spec)
    mh.train(model, ROWS, text="note", method=mh.Frozen(cache=None, dtype="float32"))
    return model


@contextmanager
def answering(app: Any) -> Iterator[str]:
    """Serve an application with granian on a free port, and yield its URL once it accepts connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    loop = asyncio.new_event_loop()
    server = Server(app, "127.0.0.1", port, interface="asgi", log_enabled=False)
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()), daemon=True)
    thread.start()
    try:
        _wait_until_open(port, thread)
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join(30)
        loop.close()


def _wait_until_open(port: int, thread: threading.Thread) -> None:
    while thread.is_alive():
        with socket.socket() as client:
            client.settimeout(5)
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        thread.join(0.02)
    raise RuntimeError("the server stopped before it listened")
