"""Which tokens of a vocabulary are pieces of words, and which of them may be joined.

A tokenizer marks where a word starts (``Ġ`` of GPT-2, ``▁`` of SentencePiece), continues (``##`` of BERT) or ends
(``</w>``, or no ``@@``). Two neighboring tokens belong to one word if no mark separates them and a letter or digit
meets another one: the comma after ``Ġcough`` has no mark, but is not part of the word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from manyheads.types import Tokenizer, WordPieces

# Share of a vocabulary that must have a mark for it to be the tokenizer's.
_MARKED = 0.01
# A letter or a digit.
_LETTER = re.compile(r"[^\W_]")
# A byte in the vocabulary of a SentencePiece tokenizer with byte fallback.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
# Scripts written without spaces, as ranges of code points: their tokens are not joined.
_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0xA4CF),  # Chinese, Japanese, Yi
    (0xF900, 0xFAFF),  # Chinese
    (0x20000, 0x3FFFF),  # Chinese
)


class _Piece(NamedTuple):
    """A token without its marks.

    Attributes:
        text: Its characters, or bytes that are not whole characters.
        starts: Whether a mark separates it from the token before it.
        ends: Whether a mark separates it from the token after it.
    """

    text: str | bytes
    starts: bool = False
    ends: bool = False

    @property
    def letters(self) -> bytes:
        """Its text in lower case; empty without a letter or a digit."""
        if isinstance(self.text, bytes):
            return self.text
        return self.text.lower().encode("utf-8", "surrogatepass") if _has_letter(self.text) else b""

    @property
    def joins_last(self) -> bool:
        """Whether it may continue the word before it."""
        return not self.starts and (isinstance(self.text, bytes) or _is_inside_words(self.text[0]))

    @property
    def joins_next(self) -> bool:
        """Whether the token after it may continue its word."""
        return not self.ends and (isinstance(self.text, bytes) or _is_inside_words(self.text[-1]))


def word_pieces(tokenizer: Tokenizer) -> WordPieces:
    """Return the part of each token of a tokenizer's vocabulary in words.

    The unknown token is a word of its own. Other special tokens, punctuation and spaces are in no word.

    Args:
        tokenizer: The backbone's own.
    """
    vocabulary = tokenizer.get_vocab()
    count = max(vocabulary.values(), default=-1) + 1
    letters, joins_last, joins_next = [b""] * count, [False] * count, [False] * count
    piece_of, special, unknown = _without_marks(vocabulary), set(tokenizer.all_special_ids), tokenizer.unk_token_id
    for token, number in vocabulary.items():
        piece = piece_of(token)
        letters[number] = piece.letters
        if number == unknown:
            letters[number] = token.encode()
        elif number in special:
            letters[number] = b""
        elif letters[number]:
            joins_last[number], joins_next[number] = piece.joins_last, piece.joins_next
    offsets = np.cumsum([0, *map(len, letters)])
    joined = np.frombuffer(b"".join(letters), dtype=np.uint8).copy()
    return WordPieces(joined, offsets, np.array(joins_last), np.array(joins_next))


def _has_letter(text: str) -> bool:
    return _LETTER.search(text) is not None or (not text.isascii() and any(map(_is_mark, text)))


def _is_mark(character: str) -> bool:
    """Return whether a character is an accent or a vowel sign, which some scripts write as characters of their own."""
    return unicodedata.category(character).startswith("M")


def _is_inside_words(character: str) -> bool:
    if character.isascii():
        return character.isalnum()
    spaced = not any(low <= ord(character) <= high for low, high in _WITHOUT_SPACES)
    return spaced and (character.isalnum() or _is_mark(character))


def _without_marks(vocabulary: Mapping[str, int]) -> Callable[[str], _Piece]:
    """Return the function that takes the marks off a token: that for the mark which most tokens have."""
    counts = {
        _start_by_byte: sum(token.startswith("Ġ") for token in vocabulary),
        _start_by_line: sum(token.startswith("▁") for token in vocabulary),
        _continuation: sum(token.startswith("##") for token in vocabulary),
        _end: sum(token.endswith("</w>") for token in vocabulary),
        _no_end: sum(token.endswith("@@") for token in vocabulary),
    }
    marked = max(counts, key=lambda function: counts[function])
    if counts[marked] > _MARKED * len(vocabulary):
        return marked
    # Where a space is a token, tokens are characters or bytes; elsewhere, they are words.
    return _character if " " in vocabulary else _word


def _start_by_byte(token: str) -> _Piece:
    try:
        spelled = bytes(_bytes_by_character()[character] for character in token)
    except KeyError:  # an added token is spelled as it is
        return _spaced(token)
    try:
        return _spaced(spelled.decode("utf-8"))
    except UnicodeDecodeError:
        return _Piece(spelled.strip(), starts=spelled[:1].isspace())


@cache
def _bytes_by_character() -> dict[str, int]:
    """Return the byte of each character of byte-level tokens: printable bytes are themselves, others come after 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in printable]
    return {chr(value): value for value in printable} | {chr(256 + n): value for n, value in enumerate(others)}


def _start_by_line(token: str) -> _Piece:
    byte = _BYTE.fullmatch(token)
    if byte is None:
        return _spaced(token.replace("▁", " "))
    value = int(byte[1], 16)
    return _spaced(chr(value)) if value < 128 else _Piece(bytes([value]))


def _continuation(token: str) -> _Piece:
    return _Piece(token.removeprefix("##"), starts=not token.startswith("##"))


def _end(token: str) -> _Piece:
    return _Piece(token.removesuffix("</w>"), ends=token.endswith("</w>"))


def _no_end(token: str) -> _Piece:
    return _Piece(token.removesuffix("@@"), ends=not token.endswith("@@"))


def _character(token: str) -> _Piece:
    # A vocabulary of bytes writes them as the first 256 characters.
    return _spaced(token) if token.isascii() or len(token) > 1 else _Piece(_byte_or_character(token))


def _byte_or_character(character: str) -> bytes:
    return bytes([ord(character)]) if ord(character) < 256 else character.lower().encode()


def _word(token: str) -> _Piece:
    return _Piece(token, starts=True, ends=True)


def _spaced(text: str) -> _Piece:
    return _Piece(text.strip(), starts=text[:1].isspace(), ends=text[-1:].isspace())
