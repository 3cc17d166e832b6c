"""Texts to token ids: what the backbone's own tokenizer emits, cut to the backbone's limit, counted where cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from manyheads.data.wording import start_of_document
from manyheads.errors import InputError
from manyheads.types import Batch

Text = str | tuple[str, str]

_EMITTED = ("input_ids", "token_type_ids")
LONG_TEXT = ("truncate", "error")


@dataclass(frozen=True)
class Tokenized:
    """Token ids of texts.

    Attributes:
        inputs: ``input_ids`` and whatever else the tokenizer emits, a list of integers per row.
        truncated: (rows,) booleans: which texts were cut.
        pad: The id that padding gets; masks, not ids, say what padding is.
    """

    inputs: dict[str, list[list[int]]]
    truncated: np.ndarray
    pad: int

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per row (rows,), int64."""
        return np.array([len(row) for row in self.inputs["input_ids"]], dtype=np.int64)

    def ids(self, row: int) -> list[int]:
        """Return the token ids of a row."""
        return self.inputs["input_ids"][row]

    def batch(self, rows: np.ndarray) -> Batch:
        """Return some rows as right-padded tensors."""
        ids = _padded([self.inputs["input_ids"][row] for row in rows], self.pad)
        lengths = torch.tensor([len(self.inputs["input_ids"][row]) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
        types = self.inputs.get("token_type_ids")
        segments = None if types is None else _padded([types[row] for row in rows], 0)
        return Batch(input_ids=ids, attention_mask=mask, token_type_ids=segments)


def tokenize(
    tokenizer: Any,
    texts: Sequence[Text],
    limit: int | None,
    accepted: frozenset[str],
    long_text: str = "truncate",
    places: Sequence[str] | None = None,
    room: int | None = None,
) -> Tokenized:
    """Tokenize texts, or pairs of them.

    Args:
        tokenizer: The backbone's own.
        texts: Strings, or pairs of strings.
        limit: Most tokens of a row, special tokens included; ``None`` for no limit.
        accepted: Input names that the backbone takes; segments it cannot read are not made.
        long_text: ``"truncate"`` or ``"error"``, for a text beyond the limit.
        places: Where each text stands, for messages; its place in ``texts`` by default.
        room: Tokens beyond which a text counts as cut, since something else needs their place.

    Raises:
        InputError: no tokenizer, or a text beyond the limit under ``long_text="error"``.
    """
    if tokenizer is None:
        raise InputError("This model has no tokenizer, so it cannot read texts; wrap it with one, or call it with ids")
    if long_text not in LONG_TEXT:
        raise InputError(f"long_text must be 'truncate' or 'error', got {long_text!r}")
    inputs = _encode(tokenizer, texts, accepted, None)
    lengths = np.array([len(row) for row in inputs["input_ids"]], dtype=np.int64)
    most = min((size for size in (limit, room) if size is not None), default=None)
    truncated = np.zeros(len(texts), dtype=bool) if most is None else lengths > most
    if truncated.any() and long_text == "error":
        row = int(truncated.argmax())
        place = places[row] if places else f"The list of texts, row {row + 1}"
        raise InputError(
            f"{place}: has {lengths[row]} tokens, the limit is {most} "
            f"({truncated.sum()} such texts); shorten it, or allow long_text='truncate'"
        )
    long = [] if limit is None else np.flatnonzero(lengths > limit).tolist()
    if long:
        _cut(tokenizer, texts, inputs, long, accepted, limit)
    _fill_empty(tokenizer, inputs)
    return Tokenized(inputs, truncated, tokenizer.pad_token_id or 0)


def _encode(
    tokenizer: Any, texts: Sequence[Text], accepted: frozenset[str], limit: int | None
) -> dict[str, list[list[int]]]:
    if not texts:
        return {"input_ids": []}
    encoded = tokenizer(list(texts), truncation=limit is not None, max_length=limit, padding=False, verbose=False)
    return {name: [list(row) for row in encoded[name]] for name in _EMITTED if name in encoded and name in accepted}


def _cut(
    tokenizer: Any,
    texts: Sequence[Text],
    inputs: dict[str, list[list[int]]],
    rows: Sequence[int],
    accepted: frozenset[str],
    limit: int | None,
) -> None:
    """Tokenize some rows again, cut: the tokenizer knows which special tokens must stay."""
    for name, values in _encode(tokenizer, [texts[row] for row in rows], accepted, limit).items():
        for row, value in zip(rows, values, strict=True):
            inputs[name][row] = value


def _fill_empty(tokenizer: Any, inputs: dict[str, list[list[int]]]) -> None:
    """Give a text without tokens the one that begins or ends a document, so that there is a state to read."""
    token = start_of_document(tokenizer)
    for row, ids in enumerate(inputs["input_ids"]):
        if not ids:
            ids.append(token)
            if "token_type_ids" in inputs:
                inputs["token_type_ids"][row].append(0)


def _padded(rows: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
