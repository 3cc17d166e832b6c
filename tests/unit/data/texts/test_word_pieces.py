"""Words from token ids: which tokens are joined, by whatever mark a vocabulary has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from manyheads.bags.words import LONGEST, Words
from manyheads.data.texts.word_pieces import word_pieces
from manyheads.types import WordPieces

# Vocabulary, tokens of a text, and its words.
TEXTS: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    "continued": (["##a"], ["[CLS]", "cough", "##s", ",", "cough", "dry", "##."], ["coughs", "cough", "dry"]),
    "started by byte": (["Ġa"], ["dry", "Ġco", "ugh", ",", "Ġ", "now", "Ċ", "x"], ["dry", "cough", "now", "x"]),
    "started by line": (["▁a"], ["▁dry", "▁co", "ugh", "-", "re", "▁", "now", "<0x0A>"], ["dry", "cough", "re", "now"]),
    "ended": (["a</w>"], ["co", "ugh</w>", "dry</w>", ".</w>"], ["cough", "dry"]),
    "not ended": (["a@@"], ["co@@", "ugh", "dry", "."], ["cough", "dry"]),
    "whole words": (["a"], ["dry", "cough", ",", "x"], ["dry", "cough", "x"]),
    "characters": ([" "], ["d", "r", "y", " ", "x", "1", ".", "2"], ["dry", "x1", "2"]),
    "letter case": (["Ġa"], ["Dry", "ĠCO", "ugh"], ["dry", "cough"]),
    "unknown": (["##s"], ["dry", "[UNK]", "##s", "[UNK]"], ["dry", "[UNK]", "s", "[UNK]"]),
    "special": (["Ġa"], ["dry", "[SEP]", "ness", "[CLS]"], ["dry", "ness"]),
    "half a character": (["Ġa"], ["Ġna", "Ã", "¯", "ve", "ĠnaÃ¯ve"], ["naïve", "naïve"]),
    "Chinese": (["▁a"], ["▁漢", "字", "ab", "c"], ["漢", "字", "abc"]),
    "Thai": (["##ร"], ["กา", "##ร"], ["กา", "ร"]),
    "accents": (["Ġa"], ["e", "ÌĢ", "t"], ["e\u0300t"]),
    "bytes": ([" "], ["n", "Ã", "¯", "f"], ["naïf".replace("a", "")]),
    "too long": (["##a"], ["b", *["##aaaa"] * LONGEST, "c"], ["?", "c"]),
}  # fmt: skip
SPECIAL = ["[CLS]", "[SEP]", "[UNK]"]


def pieces_of(vocabulary: Mapping[str, int]) -> WordPieces:
    special = [vocabulary[token] for token in SPECIAL]
    tokenizer = SimpleNamespace(
        get_vocab=lambda: dict(vocabulary), all_special_ids=special, unk_token_id=vocabulary["[UNK]"]
    )
    return word_pieces(tokenizer)  # type: ignore[arg-type]


def words_of(ids: Sequence[int], pieces: WordPieces) -> list[str]:
    """Return the words, "?" for those that no table can contain."""
    row = np.array([ids])
    words = Words.of(row, np.ones_like(row, dtype=bool), pieces)
    nodes = words.beginnings()
    spelled = [b""]
    for key in nodes.tolist():
        spelled.append(spelled[key >> 31] + bytes([key & 255]))
    return ["?" if unit < 0 else spelled[unit].decode() for unit in words.units(nodes)[0].tolist()]


@pytest.mark.parametrize("kind", TEXTS)
def test_tokens_are_joined_to_words(kind: str) -> None:
    vocabulary, tokens, words = TEXTS[kind]
    numbers = {token: number for number, token in enumerate(dict.fromkeys([*SPECIAL, *vocabulary, *tokens]))}
    assert words_of([numbers[token] for token in tokens], pieces_of(numbers)) == list(words)


def test_a_token_that_was_added_later_is_an_unknown_word_of_its_own() -> None:
    pieces = pieces_of({token: number for number, token in enumerate([*SPECIAL, "Ġdry", "ness", "Ġa"])})
    assert words_of([3, 99, 4, 3, 4], pieces) == ["dry", "?", "ness", "dryness"]


def test_a_vocabulary_without_words_and_a_text_without_tokens() -> None:
    pieces = pieces_of({token: number for number, token in enumerate([*SPECIAL, ".", "Ġ,", "Ġ"])})
    assert words_of([3, 4, 5, 0], pieces) == []
    nothing = Words.of(np.zeros((2, 0), dtype=np.int64), np.zeros((2, 0), dtype=bool), pieces)
    assert nothing.units(np.array([255])).shape == (2, 0)
