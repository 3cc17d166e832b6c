"""Texts to token ids: what the backbone's own tokenizer emits, cut to the backbone's limit, counted where cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from manyheads.data.texts.word_ids import WordTokens, words_of_tokens
from manyheads.errors import InputError, one_line
from manyheads.runtime.words import Place
from manyheads.types import Batch, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

Text = str | tuple[str, str]

_EMITTED = ("input_ids", "token_type_ids")
LONG_TEXT = ("truncate", "error")


@dataclass(frozen=True)
class Tokenized:
    """Token ids of texts.

    Attributes:
        inputs: ``input_ids`` and whatever else the tokenizer emits, a list of integers per row; ``word_ids`` where
            words were asked for.
        truncated: (rows,) booleans: which texts were cut.
        pad: The id of padding; the mask marks padding, not the id.
        words: Per row, the words that ``word_ids`` refer to, if requested.
    """

    inputs: dict[str, list[list[int]]]
    truncated: np.ndarray
    pad: int
    words: Sequence[WordTokens] | None = None

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per row (rows,), int64."""
        return np.array([len(row) for row in self.inputs["input_ids"]], dtype=np.int64)

    def ids(self, row: int) -> list[int]:
        """Return the token ids of a row."""
        return self.inputs["input_ids"][row]

    def part(self, rows: np.ndarray) -> Tokenized:
        """Return some rows."""
        inputs = {name: [values[row] for row in rows] for name, values in self.inputs.items()}
        words = None if self.words is None else [self.words[row] for row in rows]
        return Tokenized(inputs, self.truncated[rows], self.pad, words)

    def joined(self, other: Tokenized) -> Tokenized:
        """Return these texts and those of another tokenization by the same tokenizer after them."""
        if not len(other):
            return self
        inputs = {name: [*values, *other.inputs[name]] for name, values in self.inputs.items()}
        words = None if self.words is None or other.words is None else [*self.words, *other.words]
        return Tokenized(inputs, np.concatenate([self.truncated, other.truncated]), self.pad, words)

    def batch(self, rows: np.ndarray) -> Batch:
        """Return some rows as right-padded tensors."""
        import torch

        ids = _padded([self.inputs["input_ids"][row] for row in rows], self.pad)
        lengths = torch.tensor([len(self.inputs["input_ids"][row]) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
        segments, words = self._column("token_type_ids", rows, 0), self._column("word_ids", rows, -1)
        return Batch(input_ids=ids, attention_mask=mask, token_type_ids=segments, word_ids=words)

    def _column(self, name: str, rows: np.ndarray, filler: int) -> Tensor | None:
        values = self.inputs.get(name)
        return None if values is None else _padded([values[row] for row in rows], filler)


def tokenize(
    tokenizer: Tokenizer,
    texts: Sequence[Text],
    limit: int | None,
    accepted: frozenset[str],
    long_text: str = "truncate",
    where: Sequence[str] | None = None,
    room: int | None = None,
    words: Sequence[Sequence[Place]] | None = None,
) -> Tokenized:
    """Tokenize texts, or pairs of them.

    Args:
        tokenizer: The backbone's own.
        texts: Strings, or pairs of strings.
        limit: Most tokens of a row, special tokens included; ``None`` for no limit.
        accepted: Input names that the backbone takes; segments it cannot read are not made.
        long_text: ``"truncate"`` or ``"error"``, for a text beyond the limit.
        where: Each text's place, for messages; by default its position in ``texts``.
        room: Number of tokens above which a text counts as truncated, since a prompt needs the rest.
        words: The words of each text, to map tokens to words.

    Raises:
        InputError: no tokenizer, a text beyond the limit under ``long_text="error"``, or words without a tokenizer that
            reports the characters of each token.
    """
    if tokenizer is None:
        raise InputError("This model has no tokenizer, so it cannot read texts; wrap it with one, or call it with ids")
    if long_text not in LONG_TEXT:
        raise InputError(
            f"long_text must be 'truncate' or 'error' in training, got {long_text!r}; trained heads read windows in "
            "predict, evaluate and fit_decision"
        )
    if words is not None and not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"{type(tokenizer).__name__}: does not report the characters of a token, so words have no tokens; "
            "load a fast tokenizer (AutoTokenizer, use_fast=True) for token heads"
        )
    inputs = _encode(tokenizer, texts, accepted, None, words)
    lengths = np.array([len(row) for row in inputs["input_ids"]], dtype=np.int64)
    most = min((size for size in (limit, room) if size is not None), default=None)
    truncated = np.zeros(len(texts), dtype=bool) if most is None else lengths > most
    if truncated.any() and long_text == "error":
        row = int(truncated.argmax())
        place = where[row] if where else f"The list of texts, row {row + 1}"
        raise InputError(
            f"{place}: has {lengths[row]} tokens, the limit is {most} "
            f"({truncated.sum()} such texts); shorten it, or allow long_text='truncate'"
        )
    long = [] if limit is None else np.flatnonzero(lengths > limit).tolist()
    if long:
        _cut(tokenizer, texts, inputs, long, accepted, limit, words)
    _fill_empty(tokenizer, inputs)
    held = None
    if words is not None:
        rows = zip(inputs["word_ids"], inputs.pop("token_ends"), words, strict=True)
        held = [WordTokens.of(ids, ends, places) for ids, ends, places in rows]
        inputs["word_ids"] = [one.renumbered(ids) for one, ids in zip(held, inputs["word_ids"], strict=True)]
    return Tokenized(inputs, truncated, tokenizer.pad_token_id or 0, held)


def _encode(
    tokenizer: Tokenizer,
    texts: Sequence[Text],
    accepted: frozenset[str],
    limit: int | None,
    words: Sequence[Sequence[Place]] | None,
) -> dict[str, list[list[int]]]:
    if not texts:
        return {"input_ids": []} if words is None else {"input_ids": [], "word_ids": [], "token_ends": []}
    offsets = {} if words is None else {"return_offsets_mapping": True}
    cut = {"truncation": limit is not None, "max_length": limit}
    try:
        encoded = tokenizer(list(texts), **cut, padding=False, verbose=False, **offsets)
    except Exception as error:  # tokenizers written in Rust raise plain exceptions
        raise InputError(f"{type(tokenizer).__name__}: cannot tokenize a text: {one_line(error)}; repair it") from error
    inputs = {name: [list(row) for row in encoded[name]] for name in _EMITTED if name in encoded and name in accepted}
    if words is not None:
        inputs["word_ids"] = [
            words_of_tokens(spans, places) for spans, places in zip(encoded["offset_mapping"], words, strict=True)
        ]
        inputs["token_ends"] = [[end for _, end in spans] for spans in encoded["offset_mapping"]]
    return inputs


def _cut(
    tokenizer: Tokenizer,
    texts: Sequence[Text],
    inputs: dict[str, list[list[int]]],
    rows: Sequence[int],
    accepted: frozenset[str],
    limit: int | None,
    words: Sequence[Sequence[Place]] | None,
) -> None:
    """Tokenize some rows again with truncation, so that the tokenizer keeps its special tokens."""
    mine = None if words is None else [words[row] for row in rows]
    for name, values in _encode(tokenizer, [texts[row] for row in rows], accepted, limit, mine).items():
        for row, value in zip(rows, values, strict=True):
            inputs[name][row] = value


def _fill_empty(tokenizer: Tokenizer, inputs: dict[str, list[list[int]]]) -> None:
    """Give a text without tokens the one that begins or ends a document, so that there is a state to read."""
    token = start_of_document(tokenizer)
    for row, ids in enumerate(inputs["input_ids"]):
        if not ids:
            ids.append(token)
            for name, filler in (("token_type_ids", 0), ("word_ids", -1), ("token_ends", 0)):
                if name in inputs:
                    inputs[name][row].append(filler)


def _padded(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    import torch

    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])


def pieces_of(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Return the token ids of a text, without the special tokens around it."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def special_tokens(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids of the special tokens before and after every text."""
    plain, whole = list(pieces_of(tokenizer, "a")), list(tokenizer("a")["input_ids"])
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(whole[:start]), tuple(whole[start + len(plain) :])
    return (), ()


def start_of_document(tokenizer: Tokenizer) -> int:
    """Return the id of the token that begins or ends a document, or the nearest to one that a tokenizer has."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
    return int(next(candidate for candidate in known if candidate is not None))
