"""Pieces of a growing text join to the text of the whole sequence, for every way in which tokenizers write text."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from manyheads.inference import growing_text
from manyheads.inference.growing_text import GrowingText, SequenceDecoder

END = "<end>"


def byte_level() -> PreTrainedTokenizerFast:
    """GPT-2's way: each token is some bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate([*alphabet, END])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def byte_fallback() -> PreTrainedTokenizerFast:
    """Llama's way: words, and single bytes for what they do not cover, decoded a run at a time."""
    words = [END, "<unk>", "▁", "a", ",", "▁a", "▁b", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(
        models.BPE({word: number for number, word in enumerate(words)}, [], byte_fallback=True, unk_token="<unk>")
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, unk_token="<unk>")


def word_pieces() -> PreTrainedTokenizerFast:
    """BERT's way: spaces before some words and signs are removed."""
    words = [END, "[UNK]", "a", "do", "not", "no", "##thing", ",", ".", "'", "n't", "'", "s", "t", "we", "'s"]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(dict.fromkeys(words))}))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, unk_token="[UNK]")


def cleaned_words() -> PreTrainedTokenizerFast:
    """Spaces are removed by transformers itself."""
    words = [END, "<unk>", "a", "do", "not", ",", ".", "'", "n't", "'s", "we"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, unk_token="<unk>", clean_up_tokenization_spaces=True
    )


MADE: list[Callable[[], PreTrainedTokenizerFast]] = [byte_level, byte_fallback, word_pieces, cleaned_words]


def sequences(tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Return random sequences: of any tokens, and of few tokens, so that rare neighbors meet."""
    draw, ids = random.Random(0), range(len(tokenizer))
    few = [*range(7), *tokenizer.convert_tokens_to_ids(["<0xE4>", "<0xBD>", "<0xA0>", END])]
    few = [number for number in few if number is not None] + [len(tokenizer) + 1]  # an id without a token
    return [draw.choices(ids if row % 2 else few, k=12) for row in range(400)]


@pytest.mark.parametrize("most", [64, 3])
@pytest.mark.parametrize("made", MADE)
def test_no_piece_is_taken_back(
    made: Callable[[], PreTrainedTokenizerFast], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_text, "_MOST_DECODED", most)
    monkeypatch.setattr(growing_text, "_DECODED_AGAIN", 2)
    tokenizer = made()
    decoder = SequenceDecoder(tokenizer)
    given = 0
    for ids in sequences(tokenizer):
        text = GrowingText(decoder, ids[:2], ())
        pieces = [text.grow(ids[:end]) for end in range(3, len(ids) + 1)]
        given += sum(map(bool, pieces))
        whole = tokenizer.decode(ids, skip_special_tokens=True)
        after = whole[len(tokenizer.decode(ids[:2], skip_special_tokens=True)) :]
        assert "".join([*pieces, text.finish(after)]) == after
    assert given > 400  # the text is not kept back to the end


@pytest.mark.parametrize("made", [byte_level, byte_fallback])
def test_no_piece_has_half_a_character(made: Callable[[], PreTrainedTokenizerFast]) -> None:
    tokenizer, written = made(), "a 你好 🙂 a é, a"
    text, ids = GrowingText(SequenceDecoder(tokenizer), [], ()), tokenizer(written)["input_ids"]
    pieces = [text.grow(ids[:end]) for end in range(1, len(ids) + 1)]
    assert "".join(pieces) == written
    assert all("\ufffd" not in piece for piece in pieces)
    assert sum(map(bool, pieces)) >= 4


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(["lo"], "hel"), (["xx", "o w"], "hell"), (["world", "lo w"], "hel"), (["worm"], "hello world"), (["hello"], "")],
)
def test_the_text_ends_before_a_stop_string(stop: list[str], expected: str) -> None:
    tokenizer = byte_level()
    ids = tokenizer("hello world")["input_ids"]
    text = GrowingText(SequenceDecoder(tokenizer), [], stop)
    given = ""
    for end in range(1, len(ids) + 1):
        given += text.grow(ids[:end])
        assert expected.startswith(given)  # nothing that begins a stop string was given out
        if text.is_stopped:
            break
    given += text.finish(tokenizer.decode(ids))
    assert given == expected
    assert text.is_stopped == (expected != "hello world")
    assert text.stops(ids) == text.is_stopped


def test_a_long_text_is_not_decoded_anew_for_each_token() -> None:
    tokenizer, decoded = byte_level(), []
    ids = tokenizer("a word and 你好 " * 100)["input_ids"]
    decoder = SequenceDecoder(tokenizer)
    decode = decoder.decode
    decoder.decode = lambda ids: (decoded.append(len(ids)), decode(ids))[1]  # type: ignore[method-assign]
    text = GrowingText(decoder, ids[:5], ())
    pieces = [text.grow(ids[:end]) for end in range(6, len(ids) + 1)]
    assert "".join(pieces) == tokenizer.decode(ids[5:])
    assert max(decoded) < 100 < len(ids)
