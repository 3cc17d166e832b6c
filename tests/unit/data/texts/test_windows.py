"""Windows of long texts: where they lie, what each one keeps, and which window reads a word."""

from __future__ import annotations

import numpy as np
import pytest
import transformers

from manyheads.data.texts.tokenize import Text, tokenize
from manyheads.data.texts.windows import WindowedTexts, split_into_windows
from manyheads.errors import InputError
from manyheads.heads import Ragged
from tests.families import BY_NAME, Family, tokenizer_for

ACCEPTED = frozenset({"input_ids", "token_type_ids"})
TEXT = "severe chest pain since two hours mild cough red rash"


def windows_of(name: str, text: Text, limit: int) -> tuple[Family, list[list[int]], WindowedTexts]:
    family = BY_NAME[name]
    tokenizer = tokenizer_for(family)
    found = split_into_windows(tokenizer, [text], tokenize(tokenizer, [text], None, ACCEPTED), limit)
    return family, found.tokenized.inputs["input_ids"], found


def ids_of(family: Family, text: str) -> list[int]:
    return tokenizer_for(family)(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("tokens", "room", "starts"),
    [(10, 4, [0, 3, 6]), (5, 4, [0, 1]), (11, 4, [0, 2, 4, 7]), (9, 8, [0, 1]), (3, 1, [0, 1, 2]), (7, 3, [0, 2, 4])],
)
def test_windows_lie_evenly_and_share_a_quarter(tokens: int, room: int, starts: list[int]) -> None:
    text = " ".join((TEXT.split() * 2)[:tokens])
    family, found, split = windows_of("gpt2", text, room)
    ids = ids_of(family, text)
    assert len(ids) == tokens
    assert found == [ids[start : start + room] for start in starts]
    assert split.windows.offsets.tolist() == [0, len(starts)]


@pytest.mark.parametrize("name", ["bert", "roberta", "t5", "llama", "gpt2"])
def test_each_window_keeps_the_special_tokens(name: str) -> None:
    family = BY_NAME[name]
    ids, whole = ids_of(family, TEXT), tokenizer_for(family)(TEXT)["input_ids"]
    begin = whole.index(ids[0])
    before, after = whole[:begin], whole[begin + len(ids) :]
    _, found, _ = windows_of(name, TEXT, 4 + len(before) + len(after))
    assert found == [[*before, *ids[start : start + 4], *after] for start in (0, 3, 6)]


def test_a_text_at_the_limit_is_one_window() -> None:
    tokenizer = tokenizer_for(BY_NAME["bert"])
    whole = tokenize(tokenizer, [TEXT, "burn", ""], None, ACCEPTED)
    assert split_into_windows(tokenizer, [TEXT, "burn", ""], whole, 12).tokenized is whole
    found = split_into_windows(tokenizer, [TEXT, "burn", ""], whole, 11)
    assert found.windows.counts.tolist() == [2, 1, 1]
    assert found.windows.split.tolist() == [True, False, False]
    assert found.tokenized.inputs["input_ids"][2:] == whole.inputs["input_ids"][1:]


@pytest.mark.parametrize("longer", [0, 1])
def test_the_longer_text_of_a_pair_is_split(longer: int) -> None:
    pair = ("burn", TEXT) if longer else (TEXT, "burn")
    family, found, split = windows_of("bert", pair, 8)  # [CLS] a [SEP] b [SEP]: 4 tokens besides the longer text
    cls, sep = family.special_id("cls"), family.special_id("sep")
    ids, burn = ids_of(family, TEXT), ids_of(family, "burn")
    parts = [ids[start : start + 4] for start in (0, 3, 6)]
    assert found == [[cls, *burn, sep, *part, sep] if longer else [cls, *part, sep, *burn, sep] for part in parts]
    types = [0, 0, 0, 1, 1, 1, 1, 1] if longer else [0] * 6 + [1] * 2
    assert split.tokenized.inputs["token_type_ids"] == [types] * 3


def test_a_tokenizer_in_python_has_windows_too() -> None:
    tokenizer = transformers.CanineTokenizer()
    assert not tokenizer.is_fast
    whole = tokenize(tokenizer, ["abcdefghij"], None, ACCEPTED)
    found = split_into_windows(tokenizer, ["abcdefghij"], whole, 6).tokenized.inputs["input_ids"]
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in found] == ["abcd", "defg", "ghij"]
    assert {(ids[0], ids[-1]) for ids in found} == {(tokenizer.cls_token_id, tokenizer.sep_token_id)}


@pytest.mark.parametrize(
    ("text", "limit", "message"),
    [
        (TEXT, 2, "row 1: special tokens take 2 of the 2 tokens of each window, which leaves too little room"),
        ((TEXT, TEXT), 15, "row 1: the shorter text of the pair and special tokens take 13 of the 15 tokens"),
    ],
)
def test_a_window_needs_room_for_text(text: Text, limit: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        windows_of("bert", text, limit)


def test_a_word_is_read_whole_where_most_is_around_it() -> None:
    tokenizer = tokenizer_for(BY_NAME["gpt2"])
    text = "a of in or of at on no a or"
    # 10 tokens in windows of 4 from 0, 3 and 6, and three words of 3, 2 and 5 tokens. The second word is whole in the
    # second window only. The third one is whole in none, and the last window has the most of it.
    places = [(0, 7), (8, 13), (14, len(text))]
    whole = tokenize(tokenizer, [text], None, ACCEPTED, words=[places])
    assert whole.inputs["word_ids"] == [[0, 0, 0, 1, 1, 2, 2, 2, 2, 2]]
    found = split_into_windows(tokenizer, [text], whole, 4)
    assert found.tokenized.inputs["word_ids"] == [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert found.tokenized.words is not None
    assert [words.numbers.tolist() for words in found.tokenized.words] == [[0, 1], [1, 2], [2]]
    assert isinstance(found.windows.words, Ragged)
    assert found.windows.words[0].tolist() == [0, 2, 4]  # the first of the 1st window, of the 2nd, of the 3rd


def test_a_single_word_is_read_where_it_is_farthest_from_an_edge() -> None:
    tokenizer = tokenizer_for(BY_NAME["gpt2"])
    words = (TEXT.split() * 2)[:14]
    text = " ".join(words)
    ends = np.cumsum([len(word) + 1 for word in words])
    places = [(int(end) - len(word) - 1, int(end) - 1) for end, word in zip(ends, words, strict=True)]
    whole = tokenize(tokenizer, [text], None, ACCEPTED, words=[places])
    found = split_into_windows(tokenizer, [text], whole, 8)  # windows of 8 from 0 and 6
    assert found.windows.words is not None
    # The 6th word has 1 token after it in the first window, and is the first one of the second. The 7th is the last one
    # of the first window, and has 1 before it in the second. So words 0 to 6 are read first, the others second.
    assert found.windows.words[0].tolist() == [*range(7), *range(8 + 1, 8 + 8)]
