"""Propose words that a tokenizer splits often, by the number of tokens they would save. Needs no backbone."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from manyheads.data.texts.texts import Texts
from manyheads.data.vocabulary.added_tokens import add_to_tokenizer, plan_tokens, spelling
from manyheads.errors import InputError
from manyheads.types import Tokenizer

# Words are tokenized after this one, as in running text: some tokenizers put the space into the word.
_BEFORE = "a"


@dataclass(frozen=True)
class WordProposal:
    """A word that is worth a token of its own.

    Attributes:
        word: The word as the tokenizer normalizes it.
        count: Number of occurrences in the texts.
        pieces: Its tokens after a space.
        saves: Number of tokens that the texts would save.

    Examples:
        >>> mh.WordProposal("metformin", count=12, pieces=("met", "form", "in"), saves=24).saves
        24
    """

    word: str
    count: int
    pieces: tuple[str, ...]
    saves: int


@dataclass(frozen=True)
class WordProposals(Sequence[WordProposal]):
    """Proposed words, those that save the most tokens first.

    Attributes:
        proposals: The words.
        texts: Number of texts.
        tokens_before: Number of tokens of all texts, with special tokens and without truncation.
        tokens_after: The same with all proposed words added to the tokenizer.

    Examples:
        >>> word = mh.WordProposal("metformin", count=12, pieces=("met", "form", "in"), saves=24)
        >>> mh.WordProposals((word,), texts=10, tokens_before=100, tokens_after=76)[0].word
        'metformin'
    """

    proposals: tuple[WordProposal, ...]
    texts: int
    tokens_before: int
    tokens_after: int

    @property
    def words(self) -> list[str]:
        """The words, as ``HeadedModel.add_tokens`` takes them.

        Examples:
            >>> word = mh.WordProposal("metformin", count=12, pieces=("met", "form", "in"), saves=24)
            >>> mh.WordProposals((word,), texts=10, tokens_before=100, tokens_after=76).words
            ['metformin']
        """
        return [proposal.word for proposal in self.proposals]

    @property
    def per_text_before(self) -> float:
        """Mean number of tokens per text.

        Examples:
            >>> mh.WordProposals((), texts=10, tokens_before=100, tokens_after=76).per_text_before
            10.0
        """
        return self.tokens_before / self.texts

    @property
    def per_text_after(self) -> float:
        """Mean number of tokens per text with all proposed words added to the tokenizer.

        Examples:
            >>> mh.WordProposals((), texts=10, tokens_before=100, tokens_after=76).per_text_after
            7.6
        """
        return self.tokens_after / self.texts

    def __len__(self) -> int:
        return len(self.proposals)

    def __getitem__(self, place: Any) -> Any:
        return self.proposals[place]

    def __iter__(self) -> Iterator[WordProposal]:
        return iter(self.proposals)


def propose(tokenizer: Tokenizer | None, texts: Texts, top: int = 50, min_count: int = 5) -> WordProposals:
    """Return the words whose own tokens would save the most on these texts.

    Words are runs of two letters or more; what holds a digit or an underscore is a number or an id. Where the tokenizer
    reads all letters as small ones, so are the words counted.

    Args:
        tokenizer: The backbone's own; it is left as it is.
        texts: At least one.
        top: How many words at most.
        min_count: Minimum number of occurrences.

    Raises:
        InputError: no tokenizer, or a ``top`` or ``min_count`` that is no positive number.
    """
    for name, value in {"top": top, "min_count": min_count}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"propose_words: {name} must be a positive whole number, got {value!r:.60}")
    if tokenizer is None:
        raise InputError("There is no tokenizer whose words could be counted; name a checkpoint that has one")
    counts = {word: count for word, count in _counted(tokenizer, texts).items() if count >= min_count}
    pieces = {word: found for word, found in _pieces(tokenizer, list(counts)).items() if len(found) > 1}
    extended = _extended(tokenizer, list(pieces))
    left = {word: len(found) for word, found in _pieces(extended, list(pieces)).items()}
    saves = {word: (len(found) - left[word]) * counts[word] for word, found in pieces.items()}
    best = sorted((word for word in saves if saves[word] > 0), key=lambda word: (-saves[word], word))[:top]
    return WordProposals(
        tuple(
            WordProposal(word, counts[word], tuple(tokenizer.convert_ids_to_tokens(pieces[word])), saves[word])
            for word in best
        ),
        len(texts),
        _tokens(tokenizer, texts),
        _tokens(_extended(tokenizer, best), texts),
    )


def _counted(tokenizer: Tokenizer, texts: Texts) -> Counter[str]:
    """Return the number of occurrences of each word, normalized by the tokenizer."""
    pattern = _word_pattern()
    raw: Counter[str] = Counter()
    for text in texts.texts:
        for side in (text,) if isinstance(text, str) else text:
            raw.update(pattern.findall(side))
    counts: Counter[str] = Counter()
    for word, count in raw.items():
        counts[spelling(tokenizer, word)] += count
    return counts


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    """Return the pattern of words, combining marks included: Python excludes them, tokenizers do not."""
    marks = "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"(?<![\w{marks}])(?:[^\W\d_][{marks}]*){{2,}}(?![\w{marks}])")


def _pieces(tokenizer: Tokenizer, words: Sequence[str]) -> Mapping[str, list[int]]:
    """Return the tokens that each word adds to a text after a space."""
    if not words:
        return {}
    first = len(tokenizer(_BEFORE, add_special_tokens=False)["input_ids"])
    split = tokenizer([f"{_BEFORE} {word}" for word in words], add_special_tokens=False)["input_ids"]
    return {word: list(ids[first:]) for word, ids in zip(words, split, strict=True)}


def _extended(tokenizer: Tokenizer, words: Sequence[str]) -> Any:
    """Return a copy of a tokenizer with these words added."""
    extended = copy.deepcopy(tokenizer)
    add_to_tokenizer(extended, plan_tokens(extended, words))
    return extended


def _tokens(tokenizer: Tokenizer, texts: Texts) -> int:
    return sum(map(len, tokenizer(list(texts.texts), verbose=False)["input_ids"]))
