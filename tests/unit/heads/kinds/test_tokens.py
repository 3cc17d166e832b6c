"""Words, tags and spans: what a text's words are, what a cell shows of them, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.data.texts.texts import read_texts, read_texts_from_list
from manyheads.data.texts.word_ids import WordTokens, words_of_tokens
from manyheads.data.texts.words import find_words, joined
from manyheads.heads import Ragged
from manyheads.heads.cells.spans import SplitText
from manyheads.runtime.words import WORD_RULES
from manyheads.taps import Words
from tests.families import BY_NAME, TEXTS, tokenizer_for
from tests.laws.oracle import RECORDS, add_heads, headed, tags_of
from tests.unit.cli.test_app import called

Saved = Callable[[str], Path]
TEXT = "took 5 mg aspirin, then slept"


def split(text: str = TEXT, rule: str = "punctuation") -> SplitText:
    return SplitText(find_words(text, rule), text)


def encoded(spec: mh.Tokens, *cells: object) -> list[list[object]]:
    """Return the class names that cells on ``TEXT`` come to, ``None`` where missing."""
    names = {-100: None, **dict(enumerate(spec.classes))}
    found = spec.encode(cells, "drugs", "a.csv", [split(rule=spec.words)] * len(cells))
    return [[names[int(value)] for value in row] for row in found]


# --- words ----------------------------------------------------------------------------------------


def test_words_by_either_rule() -> None:
    text = " don't  co-op,\n3.5 mg_a é—x "
    spaces = [text[start:end] for start, end in find_words(text, "spaces")]
    assert spaces == text.split()
    found = [text[start:end] for start, end in find_words(text, "punctuation")]
    assert found == ["don", "'", "t", "co", "-", "op", ",", "3", ".", "5", "mg_a", "é", "—", "x"]
    assert WORD_RULES == ("punctuation", "spaces")


def test_given_words_are_joined_by_one_space() -> None:
    words = ["New York", "is", "", "big", "!"]
    text, places = joined(words)
    assert text == "New York is  big !"
    assert [text[start:end] for start, end in places] == words


def test_a_list_is_words_and_a_tuple_is_a_pair() -> None:
    texts = read_texts_from_list([["mild", "cough"], "burn", None, ["", " "]])
    assert texts.texts == ["mild cough", "burn", "", ""]
    assert texts.words("spaces")[:2] == [[(0, 4), (5, 10)], [(0, 4)]]
    assert texts.empty.tolist() == [False, False, True, True]
    assert read_texts_from_list([("a", "b"), ["c", "d"]]).texts == [("a", "b"), ("c", "d")]
    with pytest.raises(mh.errors.TextError, match="pairs"):
        read_texts_from_list([("a", "b")]).words("spaces")


@pytest.mark.parametrize("kind", ["list", "arrow", "numpy", "json lines"])
def test_words_of_a_table(kind: str, tmp_path: Path) -> None:
    rows = [{"text": ["mild", "cough"]}, {"text": None}, {"text": ["burn"]}]
    table: object = rows
    if kind == "arrow":
        table = pa.table({"text": [row["text"] for row in rows]})
    if kind == "numpy":
        table = [{"text": None if row["text"] is None else np.array(row["text"], dtype=object)} for row in rows]
    if kind == "json lines":
        table = tmp_path / "a.jsonl"
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = read_texts(read_table(table), "text")
    assert texts.texts == ["mild cough", "", "burn"]
    assert texts.words("punctuation") == [[(0, 4), (5, 10)], [], [(0, 4)]]


# --- which word a token belongs to ----------------------------------------------------------------


CASES = {
    "one token a word": ([(0, 3), (4, 7)], [(0, 3), (4, 7)], [0, 1]),
    "sub-words": ([(0, 2), (2, 3), (4, 7)], [(0, 3), (4, 7)], [0, 0, 1]),
    "a leading blank is of no word": ([(0, 3), (3, 7)], [(0, 3), (4, 7)], [0, 1]),
    "a blank alone": ([(0, 3), (3, 4), (4, 7)], [(0, 3), (4, 7)], [0, -1, 1]),
    "special tokens stand for nothing": ([(0, 0), (0, 3), (0, 0)], [(0, 3)], [-1, 0, -1]),
    "special tokens in mid-text": ([(0, 3), (2, 2), (4, 7)], [(0, 3), (4, 7)], [0, -1, 1]),
    "a token over two words is of the first": ([(0, 5), (5, 7)], [(0, 3), (3, 4), (4, 7)], [0, 2]),
    "several tokens of one character": ([(0, 1), (0, 1), (1, 2)], [(0, 1), (1, 2)], [0, 0, 1]),
    "an empty word takes no token": ([(0, 3), (5, 8)], [(0, 3), (4, 4), (5, 8)], [0, 2]),
    "an empty word inside a token's blank": ([(0, 3), (3, 8)], [(0, 3), (4, 4), (5, 8)], [0, 2]),
    "the rest was cut away": ([(0, 3)], [(0, 3), (4, 7)], [0]),
    "no words": ([(0, 0), (0, 2)], [], [-1, -1]),
    "no tokens": ([], [(0, 3)], []),
    "characters after the last word": ([(0, 3), (3, 4)], [(0, 3)], [0, -1]),
}


@pytest.mark.parametrize(("spans", "places", "expected"), CASES.values(), ids=CASES)
def test_a_token_belongs_to_the_first_word_it_shares_a_character_with(
    spans: list[tuple[int, int]], places: list[tuple[int, int]], expected: list[int]
) -> None:
    assert words_of_tokens(spans, places) == expected
    kept = WordTokens.of(expected, [end for _, end in spans], places)
    assert kept.places[:, 0].tolist() == [places[number][0] for number in sorted({*expected} - {-1})]
    again = kept.renumbered(expected)
    assert [kept.numbers[number] if number >= 0 else -1 for number in again] == expected
    assert sorted({*again} - {-1}) == list(range(len(kept)))


ENDS = {
    "each word has a token": ([(0, 3), (4, 7)], [(0, 3), (4, 7)], [3, 7]),
    "a token over two words": ([(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)], [2, 3]),
    "a token over all words": ([(0, 3)], [(0, 1), (1, 2), (2, 3)], [3]),
    "a token that ends inside the next token's word": ([(0, 5), (5, 7)], [(0, 3), (3, 4), (4, 7)], [4, 7]),
    "a word between that has no token": ([(0, 1), (2, 3)], [(0, 1), (1, 2), (2, 3)], [1, 3]),
    "the rest was cut away": ([(0, 2)], [(0, 1), (1, 2), (2, 3)], [2]),
    "a space after the word": ([(0, 4)], [(0, 3), (4, 7)], [3]),
    "no words": ([(0, 0)], [], []),
}


@pytest.mark.parametrize(("spans", "places", "ends"), ENDS.values(), ids=ENDS)
def test_a_word_ends_where_its_token_does(
    spans: list[tuple[int, int]], places: list[tuple[int, int]], ends: list[int]
) -> None:
    kept = WordTokens.of(words_of_tokens(spans, places), [end for _, end in spans], places)
    assert kept.places[:, 1].tolist() == ends


def test_word_ids_equal_transformers_own_for_words_given_one_by_one() -> None:
    """``is_split_into_words`` shows which word each token is of, where words are parted by spaces alone."""
    for family in ("bert", "gpt2", "t5"):
        tokenizer = tokenizer_for(BY_NAME[family])
        for text in TEXTS:
            words = text.split()
            mine = tokenizer(text, return_offsets_mapping=True)
            theirs = tokenizer(words, is_split_into_words=True)
            assert mine["input_ids"] == theirs["input_ids"]
            ids = [-1 if number is None else number for number in theirs.word_ids()]
            assert words_of_tokens(mine["offset_mapping"], joined(words)[1]) == ids


# --- labels ---------------------------------------------------------------------------------------


def test_tags_are_reduced_to_types_in_order_of_appearance() -> None:
    assert mh.Tokens(["I-dose", "O", "B-drug", "B-dose", "I-drug"]) == mh.Tokens(["dose", "drug"])
    assert mh.Tokens(["drug", "dose"]).classes == ("O", "B-drug", "I-drug", "B-dose", "I-dose")
    assert mh.Tokens(np.array(["drug"])).outputs == 3
    assert mh.Tokens(["O", "B-x"], scheme="plain").labels == ("O", "B-x")


TAGS = ["O", "B-dose", "I-dose", "B-drug", "O", "O", "O"]
SPANS = [{"start": 10, "end": 17, "label": "drug"}, {"start": 5, "end": 9, "label": "dose"}]


@pytest.mark.parametrize(
    "cell",
    [
        TAGS,
        tuple(TAGS),
        np.array(TAGS, dtype=object),
        json.dumps(TAGS),
        SPANS,
        json.dumps(SPANS),
        [(5, 9, "dose"), (10, 17, "drug")],
        [[5, 9, "dose"], [np.int64(10), 17, "drug"]],
        [{**span, "score": 0.5, "token_start": 1} for span in SPANS],
    ],
)
def test_tags_and_spans_say_the_same(cell: object) -> None:
    assert encoded(mh.Tokens(["drug", "dose"]), cell) == [TAGS]


def test_missing_cells_missing_words_and_no_entities() -> None:
    spec = mh.Tokens(["drug", "dose"])
    found = encoded(spec, None, float("nan"), "", [None, "O", *[float("nan")] * 5], [], "[]")
    assert found[:3] == [[None] * 7] * 3
    assert found[3] == [None, "O", *[None] * 5]
    assert found[4:] == [["O"] * 7] * 2


def test_a_span_labels_its_words_and_may_leave_out_their_punctuation() -> None:
    spec = mh.Tokens(["drug", "dose"])
    assert encoded(spec, [(4, 10, "drug")]) == [["O", "B-drug", "I-drug", "O", "O", "O", "O"]]
    by_spaces = mh.Tokens(["drug"], words="spaces")
    assert encoded(by_spaces, [(10, 17, "drug")]) == [["O", "O", "O", "B-drug", "O", "O"]]


def test_plain_labels_of_spans_leave_other_words_unlabelled() -> None:
    spec = mh.Tokens(["noun", "verb"], scheme="plain")
    found = encoded(spec, [(0, 4, "verb"), (7, 17, "noun")], [], None)
    assert found == [["verb", None, "noun", "noun", None, None, None], [None] * 7, [None] * 7]


def test_plain_labels_are_spans_of_one_word() -> None:
    spec = mh.Tokens(["noun", "verb"], scheme="plain")
    scores = np.array([[0.2, 0.8], [0.9, 0.1]])
    spans = spec.prediction(np.log(scores), scores, mh.Decision()).spans
    assert spans == (mh.Span(0, 1, "verb", 0.8), mh.Span(1, 2, "noun", 0.9))
    assert spec.prediction(np.empty((0, 2)), np.empty((0, 2)), mh.Decision()).spans == ()


# --- what a head reads ----------------------------------------------------------------------------


def test_reads_become_word_taps() -> None:
    assert mh.Tokens(["a"]).taps == (Words(-1, "first"),)
    several = mh.Tokens(["a"], reads=[mh.Hidden(-1), mh.Hidden(2)], subword="mean")
    assert several.taps == (Words(-1, "mean"), Words(2, "mean"))
    assert several.reads == (mh.Hidden(-1), mh.Hidden(2))


# --- predictions ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(saved: Saved) -> mh.HeadedModel:
    found = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place"]), "age": mh.Regression()})
    mh.train(found, RECORDS, "text", mh.Frozen(dtype="float32", l2=1e-4), eval_fraction=0)
    return found


def spans_by_hand(text: str) -> list[tuple[int, int, str]]:
    """Return the entities of a text of our records, in characters."""
    found: list[tuple[int, int, str]] = []
    for (start, end), tag in zip(find_words(text, "spaces"), tags_of(text), strict=True):
        if tag[0] == "B":
            found.append((start, end, tag[2:]))
        elif tag[0] == "I":
            found[-1] = (found[-1][0], end, found[-1][2])
    return found


def plain(spans: Sequence[mh.Span]) -> list[tuple[int, int, object]]:
    return [(span.start, span.end, span.label) for span in spans]


def test_predicted_spans_are_characters_of_the_text(model: mh.HeadedModel) -> None:
    texts = [str(record["text"]) for record in RECORDS[:12]]
    predicted = model.predict(texts)
    for text, row in zip(texts, predicted, strict=True):
        assert plain(row["found"].spans) == spans_by_hand(text)
        assert all(0.2 < span.score <= 1 for span in row["found"].spans)
    wide = model.predict(["  ".join(text.split()) for text in texts])
    assert [len(row["found"].spans) for row in wide] == [len(row["found"].spans) for row in predicted]
    assert wide[0]["found"].spans[0].start == TEXTS[0].index("chest") + 1


def test_words_are_predicted_as_the_text_that_they_join_to(model: mh.HeadedModel) -> None:
    words = model.predict([text.split() for text in TEXTS])
    texts = model.predict(TEXTS)
    for one, other in zip(words, texts, strict=True):
        assert one["found"] == other["found"]


def test_arrays_of_unequal_rows(model: mh.HeadedModel) -> None:
    predicted = model.predict([*TEXTS[:3], "", "  "])
    assert isinstance(predicted.logits["found"], Ragged)
    assert predicted.logits["found"].lengths.tolist() == [*(len(text.split()) for text in TEXTS[:3]), 0, 0]
    assert [len(words) for words in predicted.words] == predicted.logits["found"].lengths.tolist()
    np.testing.assert_allclose(predicted.scores["found"][2].sum(axis=1), 1, rtol=1e-6)
    assert predicted[3]["found"].spans == predicted[-1]["found"].spans == ()
    part = predicted[1:3]
    assert part[0]["found"] == predicted[1]["found"]
    assert np.array_equal(part.logits["found"][1], predicted.logits["found"][2])
    assert np.array_equal(predicted.logits["found"][-3], predicted.logits["found"][2])
    assert "Ragged(5 rows" in repr(predicted.logits["found"])
    with pytest.raises(IndexError):
        predicted.logits["found"][5]


def test_no_texts_and_texts_without_words(model: mh.HeadedModel) -> None:
    assert len(model.predict([])) == 0
    assert model.predict([]).to_arrow().schema.names == ["found_spans", "age_value"]
    assert model.predict([""])[0]["found"].spans == ()


def test_many_texts_come_in_parts(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = model.predict(TEXTS)
    monkeypatch.setattr("manyheads.inference.blocks._CHUNK", 5)
    parts = model.predict(TEXTS)
    for one, other in zip(whole.logits["found"], parts.logits["found"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert [plain(row["found"].spans) for row in whole] == [plain(row["found"].spans) for row in parts]


def test_a_word_that_was_cut_away_has_no_span(model: mh.HeadedModel) -> None:
    text = TEXTS[6]
    cut = model.predict([text], max_length=6)
    assert cut.truncated.tolist() == [True]
    assert len(cut.words[0]) == 4
    assert cut.words[0].tolist() == [list(place) for place in find_words(text, "spaces")[:4]]


def test_a_scored_table_has_a_column_of_spans(model: mh.HeadedModel) -> None:
    predicted = model.predict(["child eats and drinks well", TEXTS[0]])
    table = predicted.to_arrow(all_scores=True)
    assert table.column("found_spans").to_pylist()[0] == []
    assert [span["label"] for span in table.column("found_spans").to_pylist()[1]] == ["place", "symptom"]
    assert len(table.column("found_score_B-place").to_pylist()[1]) == 6
    only = model.predict(["child eats and drinks well"]).to_arrow()
    assert only.schema.field("found_spans") == table.schema.field("found_spans")
    assert len(predicted.to_pandas()) == 2


@pytest.mark.parametrize(("labels", "expected"), [([1, 2], pa.int64()), (["a", 1], pa.string()), ([0.5], pa.float64())])
@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
def test_labels_of_spans_keep_their_type(labels: list[object], expected: pa.DataType) -> None:
    untrained = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    add_heads(untrained, {"found": mh.Tokens(labels)})
    predicted = untrained.predict(TEXTS)
    assert predicted.to_arrow().schema.field("found_spans").type.value_type.field("label").type == expected
    reported = {type(span.label) for row in predicted for span in row["found"].spans}
    assert reported
    assert reported <= {type(label) for label in labels}


# --- training -------------------------------------------------------------------------------------


def test_what_training_reports_of_words(saved: Saved) -> None:
    rows = [*RECORDS, {"text": " ".join(TEXTS * 2)[:400].rsplit(" ", 1)[0], "found": None}]
    rows[-1]["found"] = tags_of(str(rows[-1]["text"]))
    rows.append({"text": "no labels here", "found": None})
    found = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place", "drug"])})
    result = mh.train(found, rows, "text", mh.Frozen(dtype="float32"), eval_fraction=0.2, max_length=20)
    assert result.rows["found"]["train"] + result.rows["found"]["evaluate"] == len(RECORDS) + 1
    notes = " ".join(result.notes)
    assert "labelled words have no token or were cut off" in notes
    assert "1 rows have no label" in notes
    assert "such as 'B-drug'" in notes


def test_evaluation_tables_of_other_lengths_and_words_as_lists(saved: Saved) -> None:
    found = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place"], words="spaces", class_weights="balanced")})
    table = [{**record, "text": str(record["text"]).split()} for record in RECORDS]
    held_out = [
        {"text": "burn", "found": ["O"]},
        {"text": "chest pain", "found": [(0, 5, "place"), (6, 10, "symptom")]},
    ]
    result = mh.train(found, table, "text", mh.Frozen(dtype="float32"), eval_data=held_out)
    assert result.metrics["found"]["rows"] == 2
    names = found.heads["found"].spec.classes
    counts = np.bincount([names.index(tag) for record in RECORDS for tag in record["found"]], minlength=5)
    expected = np.where(counts > 0, counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1)), 1.0)
    torch.testing.assert_close(
        found.heads["found"].class_weights.double(), torch.from_numpy(expected), rtol=1e-5, atol=0
    )


def test_training_again_gives_the_same_bits(saved: Saved) -> None:
    weights = []
    for _ in range(2):
        found = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place"], hidden=[8])})
        mh.train(found, RECORDS, "text", mh.Frozen(dtype="float32"), eval_fraction=0.2)
        weights.append(found.heads["found"].output.weight.detach().clone())
    assert torch.equal(*weights)


# --- collating ------------------------------------------------------------------------------------


def test_collating_labels_of_words_and_of_tokens() -> None:
    one = {"input_ids": [5, 6, 7, 8], "word_ids": [-1, 0, 0, 1], "labels": {"a": [1, 2], "b": 3}}
    other = {"input_ids": [5, 6], "word_ids": [0, -1], "labels": {"a": [0]}}
    batch = mh.collate([one, other, {"input_ids": [5], "word_ids": [-1]}])
    assert batch["word_ids"].tolist() == [[-1, 0, 0, 1], [0, -1, -1, -1], [-1, -1, -1, -1]]
    assert batch["labels"]["a"].tolist() == [[1, 2], [0, -100], [-100, -100]]
    assert batch["labels"]["b"].tolist() == [3, -100, -100]
    by_token = mh.collate(
        [{"input_ids": [5, 6, 7], "labels": {"a": [1, -100, 2]}}, {"input_ids": [5], "labels": {"a": [0]}}]
    )
    assert by_token["labels"]["a"].tolist() == [[1, -100, 2], [0, -100, -100]]
    cut = mh.collate([{**one, "labels": {"a": [1, 2, 0]}}, {**other, "labels": {"a": [0]}}])
    assert cut["labels"]["a"].tolist() == [[1, 2, 0], [0, -100, -100]]


def test_collating_lists_of_zeros_and_ones_is_as_before() -> None:
    rows = [{"input_ids": [5, 6], "labels": {"m": [0, 1, 1]}}, {"input_ids": [5, 6]}]
    assert mh.collate(rows)["labels"]["m"].dtype == torch.float32
    with pytest.raises(mh.errors.InputError, match="different kinds or lengths"):
        mh.collate([rows[0], {"input_ids": [5, 6], "labels": {"m": [0, 1]}}])


# --- inference of heads, command line -------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        [["O", "B-drug"], ["I-drug"], None],
        ['["O", "B-drug"]', '["O"]', ""],
        [[{"start": 0, "end": 2, "label": "drug"}], []],
        ['[{"start": 0, "end": 2, "label": "drug"}]', "[]", ""],
    ],
)
def test_columns_that_ask_for_a_token_head(cells: list[object]) -> None:
    inferred = mh.infer_heads([{"c": cell, "x": 1} for cell in cells], "c")
    assert inferred["c"] == mh.Tokens(["drug"], column="c")
    assert "Tokens(1 entity type)" in inferred.rules[0]


@pytest.mark.parametrize("cells", [[["a", "b"], ["b"]], [["O", "a"], ["a"]], ["O", "B-drug", "O"]])
def test_other_columns_do_not(cells: list[object]) -> None:
    assert not isinstance(mh.infer_heads([{"c": cell} for cell in cells], "c")["c"], mh.Tokens)


def test_tags_of_no_entity_are_rejected() -> None:
    with pytest.raises(mh.errors.LabelError, match=r"'c'.*contains no entity"):
        mh.infer_heads([{"c": ["O", "O"]}], "c")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_command_line_trains_and_scores_words(form: str, saved: Saved, tmp_path: Path) -> None:
    rows = {"text": [record["text"] for record in RECORDS], "found": [record["found"] for record in RECORDS]}
    data, scored = tmp_path / f"rows.{form}", tmp_path / f"scored.{form}"
    if form == "csv":
        import pandas as pd

        pd.DataFrame({**rows, "found": [json.dumps(cell) for cell in rows["found"]]}).to_csv(data, index=False)
    else:
        pq.write_table(pa.table({**rows, "text": [text.split() for text in rows["text"]]}), data)
    out = tmp_path / "model"
    arguments = ["train", data, "-b", saved("bert"), "-t", "text", "-H", "found", "-o", out]
    assert called(*map(str, arguments)) == 0
    assert 'kind = "tokens"' in (out / "run.toml").read_text()
    again = tmp_path / "again"
    assert called("train", "--config", str(out / "run.toml"), "--out", str(again)) == 0
    assert (again / "heads.safetensors").read_bytes() == (out / "heads.safetensors").read_bytes()
    assert called("inspect", str(out)) == 0
    assert called("predict", str(out), str(data), "--out", str(scored)) == 0
    # What was scored reads back as labels.
    spans = read_table(scored).values("found_spans")
    texts = [str(text) for text in rows["text"]]
    classes = mh.Tokens(["place", "symptom"]).encode(spans, "found", "scored", [split(text) for text in texts])
    predicted = mh.HeadedModel.from_pretrained(out).predict(texts)
    for text, row, labels in zip(texts, predicted, classes, strict=True):
        number = sum(end > start for span in row["found"].spans for start, end in [(span.start, span.end)])
        assert np.count_nonzero(labels % 2 == 1) == number
        assert len(find_words(text, "punctuation")) == len(tags_of(text))


def test_a_plain_head_takes_its_labels_from_lists(saved: Saved, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [
        {"text": text, "pos": ["long" if len(word) > 4 else "short" for word in text.split()]} for text in TEXTS * 2
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "run.toml").write_text(
        f'data = "rows.jsonl"\nbackbone = "{saved("bert")}"\ntext = "text"\nout = "model"\n'
        '[heads.pos]\nkind = "tokens"\nscheme = "plain"\nwords = "spaces"\nlayer = -2\n'
    )
    assert called("train", "--config", str(tmp_path / "run.toml")) == 0
    spec = mh.HeadedModel.from_pretrained(tmp_path / "model").heads["pos"].spec
    assert spec == mh.Tokens(["long", "short"], scheme="plain", words="spaces", reads=mh.Hidden(-2))
