"""Bags of words and pairs from token ids alone: scikit-learn's TfidfVectorizer on the texts, whatever the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from manyheads.bags.terms import BASE
from manyheads.data.texts.word_pieces import word_pieces
from manyheads.taps import Lexical
from manyheads.taps.lexical.readers import WordReader
from manyheads.types import BackboneFacts, Features
from tests.families import TEXTS

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
MORE = [
    "naïve fever, feverish; re-fever!",
    "cough (dry) and Cough",
    "x1 y2 x1 y2",
    "(mild) 38.5 fever fever",
    "...",
    "",
]
ROWS = [f"{one}. {other}" for one in TEXTS for other in TEXTS[:4]] + MORE * 2
UNSEEN = ["fever feverishly, and the cough of x1", "unheard words feverfever", "coughs: cough"]


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return trained(tokenizer, trainers.WordPieceTrainer(vocab_size=110, special_tokens=SPECIALS))


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIALS, initial_alphabet=alphabet))


def sentence_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    split = [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=110, special_tokens=SPECIALS))


def word_end() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=130, special_tokens=SPECIALS, end_of_word_suffix="</w>")
    return trained(tokenizer, trainer)


def trained(tokenizer: Tokenizer, trainer: object) -> Tokenizer:
    tokenizer.train_from_iterator([*ROWS, "abcdefghijklmnopqrstuvwxyz ï 0123456789 .,;:!()-"], trainer)
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "##": word_piece,
    "Ġ": byte_level,
    "▁": sentence_piece,
    "</w>": word_end,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=TOKENIZERS[request.param](), **roles)


def ids_of(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Features:
    """Return the texts' ids, a special token before each."""
    rows = [[2, *tokenizer(text)["input_ids"]] for text in texts]
    width = max(map(len, rows))
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    return Features(torch.tensor([row + [9] * (width - len(row)) for row in rows]), mask)


def reader_of(tokenizer: PreTrainedTokenizerFast, tap: Lexical) -> WordReader:
    facts = BackboneFacts("Bert", (8, 8), False, len(tokenizer), word_pieces=lambda: word_pieces(tokenizer))
    features = ids_of(tokenizer, ROWS)
    reader = tap.sized(features, facts).reader(facts)
    reader.prepare(features, torch.empty(0))
    reader.check()
    assert isinstance(reader, WordReader)
    return reader


def texts_of(reader: WordReader) -> list[str]:
    """Return what the terms of a reader say."""
    words = [b""]
    for key in reader.nodes.tolist():
        words.append(words[key // BASE] + bytes([key % BASE]))
    pairs = [(words[key // BASE], words[key % BASE]) for key in reader.terms.tolist()]
    return [b" ".join(filter(None, pair)).decode() for pair in pairs]


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2)])
def test_terms_and_weights_are_those_of_scikit_learn(
    tokenizer: PreTrainedTokenizerFast, ngrams: tuple[int, int]
) -> None:
    vectorizer = TfidfVectorizer(ngram_range=ngrams, min_df=2, sublinear_tf=True, token_pattern=r"(?u)\w+")
    vectorizer.fit(ROWS)
    reader = reader_of(tokenizer, Lexical(unit="word", ngrams=ngrams))
    order = np.argsort(texts_of(reader))
    assert np.array(texts_of(reader))[order].tolist() == sorted(vectorizer.get_feature_names_out())
    for texts in (ROWS, UNSEEN):
        features = ids_of(tokenizer, texts)
        expected = vectorizer.transform(texts).toarray()[:, np.argsort(vectorizer.get_feature_names_out())]
        np.testing.assert_allclose(reader.matrix(features).toarray()[:, order], expected, atol=1e-6)
        np.testing.assert_allclose(reader(features).numpy()[:, order], expected, atol=1e-6)
