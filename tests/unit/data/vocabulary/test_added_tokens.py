"""Words added to a tokenizer: found as whole words, whatever kind of tokenizer it is, and never inside others."""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import manyheads as mh
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.data.vocabulary.added_tokens import add_to_tokenizer, plan_tokens, spelling
from manyheads.data.vocabulary.propose import propose
from tests.families import BY_NAME, TEXTS, WORDS, tokenizer_for

CORPUS = [" ".join(WORDS), *TEXTS, "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 , ( ) . -"] * 3
BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def made_once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Let a tokenizer be trained once, and copied ever after: two trainings number their pieces differently."""
    cached = functools.cache(make)
    return functools.wraps(make)(lambda *settings: copy.deepcopy(cached(*settings)))


@made_once
def word_pieces(lowercase: bool = True) -> Any:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=180, special_tokens=BERT_TOKENS, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


@made_once
def byte_pairs() -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<eos>"], show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


@made_once
def unigrams() -> Any:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokens = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=130, special_tokens=tokens, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


@made_once
def spaces_as_marks() -> Any:
    """Llama's: spaces become marks before anything is looked for."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    mark = "\u2581"
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)])
    steps = [decoders.Replace(mark, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


@made_once
def slow() -> Any:
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    vocabulary = sorted(word_pieces().get_vocab().items(), key=lambda entry: entry[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(token for token, _ in vocabulary))
        return BertTokenizerLegacy(str(path))


KINDS: dict[str, Callable[[], Any]] = {
    "word pieces": word_pieces,
    "cased word pieces": functools.partial(word_pieces, False),
    "byte pairs": byte_pairs,
    "unigrams": unigrams,
    "spaces as marks": spaces_as_marks,
    "slow": slow,
    "whole words": lambda: tokenizer_for(BY_NAME["bert"]),
}
UNCASED = {"word pieces", "slow", "whole words"}
kinds = pytest.mark.parametrize("kind", KINDS)


def extended(kind: str, *words: str) -> tuple[Any, Any]:
    """Return a tokenizer before and after it words were added."""
    tokenizer = KINDS[kind]()
    old = copy.deepcopy(tokenizer)
    add_to_tokenizer(tokenizer, plan_tokens(tokenizer, words))
    return old, tokenizer


def ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@kinds
def test_a_word_is_one_token_in_running_text(kind: str) -> None:
    old, new = extended(kind, "metformin")
    token = new.convert_tokens_to_ids("metformin")
    assert token == len(old)
    for text in ("metformin", "takes metformin daily", "metformin daily", "takes metformin"):
        found = ids(new, text)
        assert found.count(token) == 1, text
        if kind != "whole words":  # there it was one token before, the unknown one
            assert len(found) < len(ids(old, text))
    assert token not in ids(new, "takes aspirin daily")


@kinds
@pytest.mark.parametrize("text", ["metformin, (metformin).", "metformin-based", "no 'metformin'"])
def test_punctuation_ends_a_word(kind: str, text: str) -> None:
    _, new = extended(kind, "metformin")
    token = new.convert_tokens_to_ids("metformin")
    # transformers' slow tokenizers look for spaces alone.
    assert ids(new, text).count(token) == (0 if kind == "slow" else text.count("metformin"))


@kinds
@pytest.mark.parametrize("text", ["metformins", "two metformins daily", "ametformin", "metformin2", "my_metformin"])
def test_a_longer_word_is_split_as_before(kind: str, text: str) -> None:
    old, new = extended(kind, "metformin")
    assert ids(new, text) == ids(old, text)


@kinds
def test_letter_case_counts_as_much_as_to_the_tokenizer(kind: str) -> None:
    _, new = extended(kind, "Metformin")
    normalized = "metformin" if kind in UNCASED else "Metformin"
    token = new.convert_tokens_to_ids(normalized)
    for text in ("takes Metformin daily", "takes metformin daily", "takes METFORMIN daily"):
        # transformers' slow tokenizers look for words before they make letters small.
        anyhow = kind in UNCASED and kind != "slow"
        assert (token in ids(new, text)) == (anyhow or normalized in text)


@kinds
def test_decoding_stays_readable(kind: str) -> None:
    old, new = extended(kind, "metformin")
    for text in ("takes metformin daily", "metformin", "had metformin , cough"):
        if kind in {"whole words"}:  # shows [UNK] of what it does not know
            continue
        decoded = new.decode(ids(new, text))
        # SentencePiece's tokenizers write a second blank after a word that was added.
        assert " ".join(decoded.split()) == " ".join(old.decode(ids(old, text)).split())
        assert kind == "spaces as marks" or decoded == old.decode(ids(old, text))


@kinds
def test_other_texts_are_split_as_before(kind: str) -> None:
    old, new = extended(kind, "metformin", "hyperkalemia")
    assert dict(new(TEXTS)) == dict(old(TEXTS))


@kinds
def test_words_are_kept_by_saving(kind: str, tmp_path: Path) -> None:
    _, new = extended(kind, "metformin")
    new.save_pretrained(tmp_path)
    again = type(new).from_pretrained(tmp_path)
    for text in ("takes metformin daily", "metformins", "Metformin (metformin)"):
        assert ids(again, text) == ids(new, text)


@kinds
def test_what_is_known_and_what_comes_twice(kind: str) -> None:
    tokenizer = KINDS[kind]()
    known = next(word for word in WORDS if len(word) > 1 and len(ids(tokenizer, word)) == 1)
    plan = plan_tokens(tokenizer, [known, "metformin", "metformin"])
    assert plan.known == (known,)
    assert list(plan.ids) == ["metformin"]
    assert list(plan.ids.values()) == [len(tokenizer)]
    assert "metformin" not in tokenizer.get_vocab(), "planning teaches nothing"
    add_to_tokenizer(tokenizer, plan)
    assert plan_tokens(tokenizer, ["metformin"]).known == ("metformin",)


def test_spellings_that_are_one_to_the_tokenizer_are_one_word() -> None:
    plan = plan_tokens(word_pieces(), ["Zyprexa", "zyprexa", "ZYPREXA"])
    assert list(plan.ids) == ["zyprexa"]
    assert list(plan_tokens(byte_pairs(), ["Zyprexa", "zyprexa"]).ids) == ["Zyprexa", "zyprexa"]


def test_gpt2s_space_is_a_token_of_its_own_before_a_word() -> None:
    """Were it part of the word, the word could not be told from the beginning of a longer one."""
    _, new = extended("byte pairs", "metformin")
    assert new.convert_ids_to_tokens(ids(new, "the metformin")) == ["the", "\u0120", "metformin"]


def test_spelling() -> None:
    assert spelling(word_pieces(), "\u00d6dem") == "odem"
    assert spelling(byte_pairs(), "\u00d6dem") == "\u00d6dem"
    assert spelling(spaces_as_marks(), "Edema") == "Edema"
    assert spelling(slow(), "Edema") == "edema"


# --- proposals ---

NOTES = [
    "Metformin since 2020, metformin again",
    "metformin; hyperkalemia and hyperkalemia",
    "hyperkalemia P92 P92 P92 P92 x1234 x1234 x1234 under_scored under_scored",
    "metformins and the patient has pain",
]


def found(kind: str = "word pieces", **settings: int) -> mh.WordProposals:
    return propose(KINDS[kind](), read_texts_from_list(NOTES), **settings)


def test_proposals_are_ranked_by_what_they_save() -> None:
    proposals = found(min_count=1)
    tokenizer = word_pieces()
    counts = {"metformin": 3, "hyperkalemia": 3, "metformins": 1, "under": 0}
    for one in proposals:
        assert list(one.pieces) == tokenizer.tokenize(one.word)
        assert one.count == counts.get(one.word, one.count)
        assert one.saves == (len(one.pieces) - 1) * one.count
    assert [one.saves for one in proposals] == sorted((one.saves for one in proposals), reverse=True)
    assert proposals[0].word == "hyperkalemia"
    assert {"metformin", "metformins"} < set(proposals.words)


def test_numbers_ids_and_known_words_are_no_proposals() -> None:
    proposals = found(min_count=1)
    words = set(proposals.words)
    assert not any(set(word) & set("0123456789_.,;") for word in words)
    assert not words & {"p", "x", "under", "scored"}
    assert all(len(word) > 1 for word in words)
    tokenizer = word_pieces()
    known = [word for word in ("the", "pain", "and", "has") if len(tokenizer.tokenize(word)) == 1]
    assert known
    assert not words & set(known)


@kinds
def test_tokens_before_and_after_are_counted_anew(kind: str) -> None:
    tokenizer = KINDS[kind]()
    proposals = found(kind, min_count=1)
    before = sum(len(row) for row in tokenizer(NOTES)["input_ids"])
    add_to_tokenizer(tokenizer, plan_tokens(tokenizer, proposals.words))
    after = sum(len(row) for row in tokenizer(NOTES)["input_ids"])
    assert (proposals.tokens_before, proposals.tokens_after) == (before, after)
    assert proposals.per_text_before == before / len(NOTES)
    assert (after < before) == (kind != "whole words")  # which has one token for any word, known or not
    if kind in {"word pieces", "cased word pieces"}:
        assert before - after == sum(one.saves for one in proposals)


def test_the_least_count_and_the_number_of_words() -> None:
    assert set(found(min_count=3).words) == {"metformin", "hyperkalemia"}
    assert found(min_count=3, top=1).words == ["hyperkalemia"]
    nothing = found(min_count=100)
    assert (len(nothing), nothing.tokens_before) == (0, nothing.tokens_after)


def test_letter_case_is_counted_as_the_tokenizer_reads_it() -> None:
    cased = {one.word: one.count for one in found("cased word pieces", min_count=1)}
    assert (cased["metformin"], cased["Metformin"]) == (2, 1)
    assert {one.word: one.count for one in found(min_count=1)}["metformin"] == 3


def test_marks_belong_to_words() -> None:
    texts = read_texts_from_list(["\u0915\u093f\u0924\u093e\u092c", "cafe\u0301s cafe\u0301s"])
    words = propose(byte_pairs(), texts, min_count=1).words
    assert set(words) == {"\u0915\u093f\u0924\u093e\u092c", "cafe\u0301s"}


def test_propose_words_reads_a_folder_without_weights(tmp_path: Path) -> None:
    word_pieces().save_pretrained(tmp_path / "tokenizer")
    assert [path.name for path in (tmp_path / "tokenizer").glob("*.safetensors")] == []
    table = [{"note": text} for text in NOTES]
    proposals = mh.propose_words(tmp_path / "tokenizer", table, text="note", min_count=1)
    assert proposals == found(min_count=1)
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), word_pieces())
    assert mh.propose_words(model, table, text="note", min_count=1) == proposals


def test_pairs_of_texts_are_counted_on_both_sides() -> None:
    pairs = read_texts_from_list([(NOTES[0], NOTES[1]), (NOTES[2], NOTES[3])])
    proposals = propose(word_pieces(), pairs, min_count=3)
    assert set(proposals.words) == {"metformin", "hyperkalemia"}
    assert proposals.texts == 2


# --- errors ---


@pytest.mark.parametrize(
    ("words", "error", "reported"),
    [
        ([""], mh.errors.InputError, "word 1, '', is empty"),
        (["metformin", "  "], mh.errors.InputError, "word 2"),
        (["type two"], mh.errors.InputError, "contains a space"),
        ([" metformin"], mh.errors.InputError, "contains a space"),
        (["a\nb"], mh.errors.InputError, "contains a space"),
        (["[SEP]"], mh.errors.InputError, "special tokens"),
        (["\ud800x"], mh.errors.InputError, "surrogate"),
        (["\x07"], mh.errors.InputError, "reads nothing"),
        ([7], mh.errors.TextError, "got 7"),
        ([None], mh.errors.TextError, "must be a string"),
        ("metformin", mh.errors.TextError, "a list of words"),
        ({"metformin": 1}, mh.errors.TextError, "a list of words"),
        (7, mh.errors.TextError, "a list of words"),
    ],
    ids=repr,
)
def test_what_is_not_a_word_is_rejected_and_nothing_is_learned(
    words: Any, error: type[Exception], reported: str
) -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), word_pieces())
    before = len(model.tokenizer), model.backbone.config.vocab_size
    with pytest.raises(error, match="add_tokens") as caught:
        model.add_tokens(words)
    assert reported in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (len(model.tokenizer), model.backbone.config.vocab_size) == before


def test_other_errors() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build())
    with pytest.raises(mh.errors.InputError, match="has no tokenizer"):
        model.add_tokens(["metformin"])
    with pytest.raises(mh.errors.InputError, match="no tokenizer"):
        mh.propose_words(model, [{"note": "a"}], text="note")
    model.tokenizer = word_pieces()
    with pytest.raises(mh.errors.InputError, match="'mean of sub-words', got 'random'"):
        model.add_tokens(["metformin"], init="random")
    for settings in ({"top": 0}, {"min_count": 0}, {"top": 1.5}, {"min_count": True}):
        with pytest.raises(mh.errors.InputError, match="positive whole number"):
            mh.propose_words(model, [{"note": "a"}], text="note", **settings)
    with pytest.raises(mh.errors.MissingColumnError):
        mh.propose_words(model, [{"note": "a"}], text="notes")
    with pytest.raises(mh.errors.UnknownBackboneError, match="no such folder"):
        mh.propose_words("./nowhere", [{"note": "a"}], text="note")


def test_quantised_weights_are_rejected() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), word_pieces())
    model.backbone.is_quantized = True
    with pytest.raises(mh.errors.BackboneError, match="quantized"):
        model.add_tokens(["metformin"])
    assert "metformin" not in model.tokenizer.get_vocab()


def test_a_model_that_transformers_cannot_resize_is_rejected_before_anything_changes() -> None:
    class Fixed(transformers.BertForMaskedLM):
        def resize_token_embeddings(self, new_num_tokens: int | None = None) -> Any:
            raise NotImplementedError("no")

    model = mh.HeadedModel.wrap(Fixed(BY_NAME["bert"].make_config(vocab_size=200)).eval(), word_pieces())
    with pytest.raises(mh.errors.BackboneError, match="Fixed: its embeddings cannot be resized"):
        model.add_tokens(["metformin"])
    assert "metformin" not in model.tokenizer.get_vocab()


def test_a_head_that_is_not_resized_with_the_embeddings_is_rejected() -> None:
    class Left(transformers.GPT2LMHeadModel):
        def resize_token_embeddings(self, new_num_tokens: int | None = None) -> Any:
            table = self.transformer.wte
            self.transformer.wte = type(table)(new_num_tokens, table.embedding_dim, device=table.weight.device)

    model = mh.HeadedModel.wrap(Left(BY_NAME["gpt2"].make_config(vocab_size=400)).eval(), byte_pairs())
    with pytest.raises(mh.errors.BackboneError, match="does not resize its language-model head"):
        model.add_tokens(["metformin"])


def test_a_piece_without_a_row_is_rejected() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(vocab_size=20), word_pieces())
    with pytest.raises(mh.errors.BackboneError, match="no embedding among 20"):
        model.add_tokens(["metformin"])


def test_a_token_between_that_had_no_row_starts_as_the_mean_of_all() -> None:
    """A pad token after the vocabulary, as people give GPT-2 one, gets a row with the new words'."""
    tokenizer = byte_pairs()
    model = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(vocab_size=len(tokenizer)), tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    old = model.backbone.get_input_embeddings().weight.detach().clone()
    added = model.add_tokens(["metformin"])
    new = model.backbone.get_input_embeddings().weight
    assert (added.rows_before, added.rows_after) == (len(old), len(old) + 2)
    assert (new[tokenizer.pad_token_id] - old.mean(0)).abs().max() < 1e-6


@pytest.mark.parametrize(("name", "kind"), [("bert", "word pieces"), ("gptj", "byte pairs"), ("t5", "unigrams")])
def test_rows_start_as_the_mean_of_several_pieces(name: str, kind: str) -> None:
    """Input embeddings, an untied LM head and its bias, each from rows of its own; a piece that comes twice counts
    twice."""
    old = KINDS[kind]()
    model = mh.HeadedModel.wrap(BY_NAME[name].build(vocab_size=len(old)), KINDS[kind]())
    before = {key: tensor.clone() for key, tensor in model.backbone.state_dict().items()}
    words = ["metformin", "zzyzx"]
    model.add_tokens(words)
    tensors = model.backbone.state_dict()
    grown = [key for key in tensors if tensors[key].shape != before[key].shape]
    assert len(grown) == {"bert": 4, "gptj": 3, "t5": 4}[name]
    for word in words:
        pieces, token = ids(old, word), model.tokenizer.convert_tokens_to_ids(word)
        assert len(pieces) > 1
        for key in grown:
            mean = sum(before[key][piece] for piece in pieces) / len(pieces)
            torch.testing.assert_close(tensors[key][token], mean, rtol=0, atol=1e-7)
