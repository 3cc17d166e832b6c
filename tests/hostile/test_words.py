"""Words of scripts without spaces, of letters with marks, and of symbols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import manyheads as mh
from manyheads.data.texts.words import find_words
from tests.families import BY_NAME, tokenizer_for

WORDS: dict[str, tuple[str, list[str]]] = {
    "Chinese": ("我在北京。", ["我", "在", "北", "京", "。"]),
    "Chinese beside Latin": ("用iPhone15拍", ["用", "iPhone15", "拍"]),
    "Chinese beyond the first plane": ("𠮷野家", ["𠮷", "野", "家"]),
    "Japanese": ("東京へ行くラーメン", ["東", "京", "へ", "行", "く", "ラ", "ー", "メ", "ン"]),
    "Japanese, marks apart": ("か\u3099", ["か\u3099"]),
    "Thai": ("กรุงเทพ", ["ก", "รุ", "ง", "เ", "ท", "พ"]),
    "Lao": ("ປີໃໝ່", ["ປີ", "ໃ", "ໝ່"]),
    "Khmer": ("ភាសា", ["ភា", "សា"]),
    "Burmese": ("မြန်", ["မြ", "န်"]),
    "New Tai Lue": ("ᦅᦱ", ["ᦅ", "ᦱ"]),
    "Hindi": ("मुंबई में बारिश।", ["मुंबई", "में", "बारिश", "।"]),
    "Tamil": ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
    "Bengali": ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
    "Arabic with vowels": ("اَلْعَرَبِيَّةُ جَمِيلَةٌ", ["اَلْعَرَبِيَّةُ", "جَمِيلَةٌ"]),
    "Hebrew with vowels": ("שָׁלוֹם", ["שָׁלוֹם"]),
    "Persian with a joiner": ("می\u200cروم", ["می\u200cروم"]),
    "Korean": ("한국어 문장", ["한국어", "문장"]),
    "Korean, letters apart": ("\u1112\u1161\u11ab", ["\u1112\u1161\u11ab"]),
    "German, marks apart": ("Mu\u0308nchen gru\u0308n", ["Mu\u0308nchen", "gru\u0308n"]),
    "Vietnamese, marks apart": ("tie\u0302\u0301ng", ["tie\u0302\u0301ng"]),
    "an emoji of several": ("👩‍⚕️ hilft", ["👩‍⚕️", "hilft"]),
    "a flag": ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
    "English": ("don't pay 12.5%", ["don", "'", "t", "pay", "12", ".", "5", "%"]),
    "spaces of all kinds": ("a\u3000b\u00a0c\r\nd", ["a", "b", "c", "d"]),
}


@pytest.mark.parametrize(("text", "words"), WORDS.values(), ids=WORDS)
def test_words(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in find_words(text, "punctuation")] == words
    assert [text[start:end] for start, end in find_words(text, "spaces")] == text.split()


def tokenizer_of(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer that splits texts into the pieces, and into characters beside them."""
    vocabulary = {piece: number for number, piece in enumerate(["[PAD]", "[UNK]", *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("|".join([*pieces, "."])), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def test_a_span_in_a_chinese_sentence_is_found_again(tmp_path: Path) -> None:
    texts = ["我在北京工作", "她住在上海", "今天天气很好", "他去广州了"]
    places = ["北京", "上海", None, "广州"]
    rows = [
        {"text": text, "found": [(text.index(place), text.index(place) + 2, "place")] if place else []}
        for text, place in zip(texts, places, strict=True)
    ]
    heads = mh.infer_heads(rows, "found")
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_of(sorted(set("".join(texts)))))
    model.add_head("found", heads["found"])
    mh.train(model, rows, "text", eval_fraction=0)
    assert [len(places) for places in model.predict(texts).words] == [len(text) for text in texts]
    model.save_pretrained(tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    assert again.predict(texts)[0]["found"] == model.predict(texts)[0]["found"]
    assert [list(map(tuple, row)) for row in again.predict(texts).words] == [
        find_words(text, "punctuation") for text in texts
    ]


def test_words_that_share_a_token_are_one_span() -> None:
    rows = [{"text": f"我在{place}工作", "found": [(2, 4, "place")]} for place in ("北京", "上海", "广州")]
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_of([*"我在工", "北京", "上海", "广州"]))
    model.add_head("found", mh.Tokens(["place"], label_smoothing=0.0))
    mh.train(model, rows * 4, "text", mh.Frozen(l2=1e-4, dtype="float32"), eval_fraction=0)
    answers = model.predict([row["text"] for row in rows])
    assert [[(span.start, span.end) for span in answer["found"].spans] for answer in answers] == [[(2, 4)]] * 3
    assert answers.words[0].tolist() == [[0, 1], [1, 2], [2, 4], [4, 5], [5, 6]]


def test_words_that_share_a_token_end_where_the_text_is_cut() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_of([*"我在", "北京"]))
    model.add_head("found", mh.Tokens(["place"]))
    model.heads["found"].trained = True
    assert model.predict(["在北京我在我"], max_length=2).words[0].tolist() == [[0, 1], [1, 3]]


def test_an_empty_text_has_no_words() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_of("ab"))
    model.add_head("found", mh.Tokens(["place"]))
    model.heads["found"].trained = True
    assert [len(row) for row in model.predict(["", "a b"]).words] == [0, 2]


def test_a_span_in_a_sentence_that_is_one_word_by_spaces() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("found", mh.Tokens(["place"], words="spaces"))
    with pytest.raises(mh.errors.LabelError, match=r"row 1: the span 2 to 4 .* cuts the word '我在北京工作'"):
        mh.train(model, [{"text": "我在北京工作", "found": [(2, 4, "place")]}] * 2, "text")
