"""Bags in torch, which any device computes, are those in numpy, which training and exported models compute."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manyheads.bags import TokenLexicon, WordLexicon
from manyheads.taps.lexical.readers import LexicalReader, TokenReader, WordReader
from manyheads.types import Features, WordPieces

IDS = 12
PIECES = st.tuples(st.sampled_from([b"", b"a", b"b", b"ab", b"ba", b"a" * 30]), st.booleans(), st.booleans())
VOCABULARIES = st.lists(PIECES, min_size=IDS, max_size=IDS)
# Ids that the tokenizer got after training are among them, and negative ones.
TEXTS = st.lists(st.lists(st.integers(-2, IDS + 2), max_size=9), min_size=1, max_size=6)


def pieces_of(vocabulary: list[tuple[bytes, bool, bool]]) -> WordPieces:
    """Return pieces of words, those without letters in none."""
    letters, joins_last, joins_next = zip(*vocabulary, (b"c", False, False), strict=True)
    in_words = np.array(letters) != b""
    return WordPieces(
        np.frombuffer(b"".join(letters), np.uint8).copy(),
        np.cumsum([0, *map(len, letters)]),
        np.array(joins_last) & in_words,
        np.array(joins_next) & in_words,
    )


def features_of(texts: list[list[int]], left: bool) -> Features:
    """Return texts as one batch, padded on a side with an id that is also in texts."""
    width = max(map(len, texts))
    filled = [[3] * (width - len(text)) + text if left else text + [3] * (width - len(text)) for text in texts]
    real = [[place < len(text) for place in range(width)][:: -1 if left else 1] for text in texts]
    return Features(
        torch.tensor(filled, dtype=torch.int64).reshape(len(texts), width),
        torch.tensor(real, dtype=torch.bool).reshape(len(texts), width),
    )


def check(reader: LexicalReader, features: Features) -> None:
    reader.check()
    found = reader(features)
    assert bool(((found.norm(dim=1) - reader.length).abs() < 1e-6).logical_or(found.norm(dim=1) == 0).all())
    torch.testing.assert_close(found, torch.from_numpy(reader.matrix(features).toarray()), rtol=1e-6, atol=1e-7)


@given(TEXTS, TEXTS, st.booleans(), st.integers(1, 30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_tokens(training: list[list[int]], texts: list[list[int]], pairs: bool, most: int, left: bool) -> None:
    rows = features_of([*training, [1, 2]], left)
    lexicon = TokenLexicon.of(rows.values.numpy(), rows.mask.numpy(), pairs, most)
    reader = TokenReader(len(lexicon.terms), pairs)
    reader.set_lexicon(lexicon)
    check(reader, features_of(texts, left))


@given(VOCABULARIES, TEXTS, TEXTS, st.booleans(), st.sampled_from([None, 1, 2]), st.integers(1, 30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_words(
    vocabulary: list[tuple[bytes, bool, bool]],
    training: list[list[int]],
    texts: list[list[int]],
    pairs: bool,
    first: int | None,
    most: int,
    left: bool,
) -> None:
    rows, pieces = features_of(training, left), pieces_of(vocabulary)
    lexicon = WordLexicon.of(rows.values.numpy(), rows.mask.numpy(), pieces, pairs, first, most)
    reader = WordReader(len(lexicon.terms), pairs, first, lexicon.tables, lambda: None)
    reader.set_lexicon(lexicon)
    features = features_of(texts, left)
    np.testing.assert_array_equal(
        reader.units(features).numpy(), reader.lexicon.units(features.values.numpy(), features.mask.numpy())
    )
    check(reader, features)
