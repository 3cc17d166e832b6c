"""Teach a tokenizer words that it would otherwise split: each as one token, found as a whole word in running text."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken

from manyheads.data.texts.tokenize import pieces_of
from manyheads.errors import InputError, TextError, listed
from manyheads.types import Tokenizer

# SentencePiece's character for a space.
_BLANK = "\u2581"


@dataclass(frozen=True)
class TokenPlan:
    """Words to add to a tokenizer, and their tokens.

    Attributes:
        tokens: Word, as the tokenizer spells it -> the token to add.
        ids: Word -> the id that it will have.
        pieces: Word -> the ids that the tokenizer splits it into so far, special tokens left out.
        known: Words that are one token already.
    """

    tokens: Mapping[str, AddedToken]
    ids: Mapping[str, int]
    pieces: Mapping[str, tuple[int, ...]]
    known: tuple[str, ...]


@dataclass(frozen=True)
class AddedTokens:
    """The result of ``HeadedModel.add_tokens``.

    Attributes:
        words: The added words as the tokenizer normalizes them, such as in lower case.
        known: Words that were one token already.
        pieces: Added word -> its previous tokens, whose mean row is the initial value of the new row.
        vocabulary_before: Size of the tokenizer's vocabulary before.
        vocabulary_after: Its size after.
        rows_before: Number of the backbone's embedding rows before; it may exceed the vocabulary.
        rows_after: Their number after.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     added = model.add_tokens(["metformin", "cough"])
        >>> added.words, added.known, added.vocabulary_after - added.vocabulary_before
        (('metformin',), ('cough',), 1)
    """

    words: tuple[str, ...]
    known: tuple[str, ...]
    pieces: Mapping[str, tuple[str, ...]]
    vocabulary_before: int
    vocabulary_after: int
    rows_before: int
    rows_after: int


def plan_tokens(tokenizer: Tokenizer, words: Iterable[str]) -> TokenPlan:
    """Return what there is to learn of some words; the tokenizer is left as it is.

    A new word is matched as a whole, between spaces, punctuation and the ends of the text, never inside a longer word.
    Letter case and accents matter as they do to the tokenizer. A slow tokenizer matches between spaces and the ends of
    the text only, with this letter case. A tokenizer that puts a space into the following word (GPT-2's) encodes it as
    a separate token before a new word, so that decoding restores the text. The same word twice counts
    once.

    Args:
        tokenizer: The backbone's own, fast or slow.
        words: Words without spaces.

    Raises:
        InputError: an empty word, one with spaces, a special token, one that the tokenizer drops, or one
            that would not be found.
        TextError: something that is not a string.
    """
    asked = _checked(tokenizer, words)
    normalized = {word: spelling(tokenizer, word) for word in asked}
    known = tuple(word for word in asked if is_known(tokenizer, normalized[word]))
    new = list(dict.fromkeys(normalized[word] for word in asked if word not in set(known)))
    if not new:
        return TokenPlan({}, {}, {}, known)
    pieces = {word: pieces_of(tokenizer, word) for word in new}
    dropped = [word for word, ids in pieces.items() if not ids]
    if dropped:
        raise InputError(f"add_tokens: {type(tokenizer).__name__} reads nothing in {listed(dropped)}; leave these out")
    tokens = {word: AddedToken(word, single_word=True, normalized=True) for word in new}
    lost = _lost(tokenizer, tokens)
    # If normalization replaces spaces by marks (Llama's), words are found in the original text.
    tokens |= {word: AddedToken(word, single_word=True, normalized=False) for word in lost}
    lost = _lost(tokenizer, tokens) if lost else []
    if lost:
        raise InputError(
            f"add_tokens: {type(tokenizer).__name__} would not find {listed(lost)} in a text; leave these out"
        )
    new_tokens = _taught(tokenizer, tokens)
    return TokenPlan(tokens, {word: int(new_tokens.convert_tokens_to_ids(word)) for word in new}, pieces, known)


def add_to_tokenizer(tokenizer: Tokenizer, plan: TokenPlan) -> None:
    """Add the tokens of a plan, made with this tokenizer by ``plan_tokens``."""
    if plan.tokens:
        tokenizer.add_tokens(list(plan.tokens.values()))


def spelling(tokenizer: Tokenizer, word: str) -> str:
    """Return a word as the tokenizer normalizes it (in lower case if it is uncased), or unchanged if that would not be
    one word."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normalizer = None if backend is None else backend.normalizer
    if backend is None and getattr(tokenizer, "do_lower_case", False):
        return word.lower()
    if normalizer is None:
        return word
    normalized: str = normalizer.normalize_str(word)
    whole = normalized and not any(character.isspace() or character == _BLANK for character in normalized)
    return normalized if whole else word


def is_known(tokenizer: Tokenizer, word: str) -> bool:
    """Return whether a word is one token, at the beginning of a text or after a space."""
    unknown = tokenizer.unk_token_id
    for text in (word, f" {word}"):
        ids = pieces_of(tokenizer, text)
        if len(ids) == 1 and ids[0] != unknown:
            return True
    return False


def _checked(tokenizer: Tokenizer, words: Iterable[str]) -> list[str]:
    if isinstance(words, str | bytes | Mapping) or not isinstance(words, Iterable):
        raise TextError(f"add_tokens takes a list of words, got {words!r:.60}; wrap a single word in a list")
    special = set(tokenizer.all_special_tokens)
    checked: dict[str, None] = {}
    for number, word in enumerate(words, start=1):
        if not isinstance(word, str):
            raise TextError(f"add_tokens: word {number} must be a string, got {word!r:.60} ({type(word).__name__})")
        fault = _fault(word, special)
        if fault:
            raise InputError(f"add_tokens: word {number}, {word!r:.60}, {fault}")
        checked.setdefault(word)
    return list(checked)


def _fault(word: str, special: set[str]) -> str:
    if not word.strip():
        return "is empty; leave it out"
    if any(character.isspace() for character in word):
        return "contains a space; a token is one word: pass the words one by one"
    if any(0xD800 <= ord(character) <= 0xDFFF for character in word):
        return "is not Unicode but half a surrogate pair; repair it"
    if word in special:
        return "is one of the tokenizer's special tokens; leave it out"
    return ""


def _taught(tokenizer: Tokenizer, tokens: Mapping[str, AddedToken]) -> Any:
    new_tokens = copy.deepcopy(tokenizer)
    new_tokens.add_tokens(list(tokens.values()))
    return new_tokens


def _lost(tokenizer: Tokenizer, tokens: Mapping[str, AddedToken]) -> list[str]:
    """Return the words that the extended tokenizer would not find, alone and between other words."""
    new_tokens = _taught(tokenizer, tokens)
    return [word for word in tokens if not _found(new_tokens, word, new_tokens.convert_tokens_to_ids(word))]


def _found(tokenizer: Tokenizer, word: str, token: int) -> bool:
    return all(token in pieces_of(tokenizer, text) for text in (word, f"a {word} b"))
