"""Bad settings, labels, texts and tensors for token heads: each is rejected in one line that shows what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import manyheads as mh
from manyheads.taps import Words
from tests.families import BY_NAME, TEXTS, tokenizer_for
from tests.hostile.test_bad_input import rejected
from tests.laws.oracle import RECORDS
from tests.laws.test_keeping import write_signed

SETTINGS: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "no labels": (lambda: mh.Tokens([]), ("Tokens", "at least 1")),
    "a string": (lambda: mh.Tokens("drug"), ("labels must be a list",)),
    "labels twice": (lambda: mh.Tokens(["a", "a"]), ("occur twice", "'a'")),
    "O alone": (lambda: mh.Tokens(["O"]), ("at least 1", "none")),
    "tags and types": (lambda: mh.Tokens(["O", "B-drug", "dose"]), ("mix tags", "'dose'", "scheme='plain'")),
    "one plain label": (lambda: mh.Tokens(["a"], scheme="plain"), ("at least 2",)),
    "another scheme": (lambda: mh.Tokens(["a"], scheme="bio"), ("scheme 'bio'", "did you mean 'BIO'")),
    "an unhashable scheme": (lambda: mh.Tokens(["a"], scheme=["BIO"]), ("scheme ['BIO']",)),
    "another policy": (lambda: mh.Tokens(["a"], subword="last"), ("subword 'last'", "'first', 'mean'")),
    "another rule": (lambda: mh.Tokens(["a"], words="space"), ("words 'space'", "did you mean 'spaces'")),
    "pooling": (lambda: mh.Tokens(["a"], reads=mh.Hidden(pool="mean")), ("nothing to pool", "pool='mean'")),
    "pooling in a list": (lambda: mh.Tokens(["a"], reads=[mh.Hidden(), mh.Hidden(1, "cls")]), ("nothing to pool",)),
    "a mix": (lambda: mh.Tokens(["a"], reads=mh.Hidden(layer="mix", pool="mean")), ("word by word", "mix")),
    "the bag of tokens": (lambda: mh.Tokens(["a"], reads=mh.Lexical()), ("word by word", "Lexical")),
    "a prompt": (lambda: mh.Tokens(["a"], reads=mh.Hidden(prompt="{text}:")), ("to prompt", "prompt=")),
    "another head": (lambda: mh.Tokens(["a"], reads=[mh.Hidden(), mh.Output("b")]), ("word by word", "Output")),
    "the LM's logits": (lambda: mh.Tokens(["a"], reads=mh.LMLogits()), ("word by word", "LMLogits")),
    "the LM head's rows": (lambda: mh.Tokens(["a"], init="lm_head"), ("Tokens", "only supported by heads with labels")),
    "too few weights": (lambda: mh.Tokens(["a"], class_weights=[1, 2]), ("'balanced' or 3 numbers",)),
    "weights of types": (lambda: mh.Tokens(["a"], class_weights={"a": 2}), ("name every label", "'B-a'", "'O'")),
    "smoothing": (lambda: mh.Tokens(["a"], label_smoothing=1), ("label_smoothing",)),
    "a tap's layer": (lambda: Words(layer="mix"), ("Words: layer must be an integer", "'mix'")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("make", "words"), SETTINGS.values(), ids=SETTINGS)
def test_settings(make: Callable[[], object], words: tuple[str, ...]) -> None:
    with rejected(mh.errors.HeadError, *words):
        make()


def headed(**specs: Any) -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    for name, spec in (specs or {"found": mh.Tokens(["symptom", "place"])}).items():
        model.add_head(name, spec)
    return model


def test_a_layer_that_does_not_exist() -> None:
    with rejected(mh.errors.HeadError, "layer 9 does not exist"):
        headed(found=mh.Tokens(["a"], reads=mh.Hidden(9)))


def test_two_ways_of_splitting_texts() -> None:
    model = headed()
    with rejected(mh.errors.HeadError, "Head 'other'", "'spaces'", "head 'found'", "'punctuation'", "same words="):
        model.add_head("other", mh.Tokens(["a"], words="spaces"))
    assert list(model.heads) == ["found"]


def test_a_head_that_would_read_scores_of_words() -> None:
    model = headed()
    with rejected(mh.errors.HeadError, "Output", "'found' labels words", "another head"):
        model.add_head("later", mh.Regression(reads=[mh.Hidden(), mh.Output("found")]))
    assert list(model.heads) == ["found"]


# TEXTS[0]: "severe chest pain since two hours"
CELLS: dict[str, tuple[object, tuple[str, ...]]] = {
    "too many tags": (["O"] * 7, ("7 tags for 6 words", "words='punctuation'", "list of the words")),
    "too few tags": (["O"] * 5, ("5 tags for 6 words",)),
    "an unknown tag": (["O"] * 5 + ["B-drug"], ("'B-drug' (row 3)", "5 labels")),
    "a string": ("chest pain", ("neither a list of tags", "'chest pain'")),
    "a number": (5, ("neither a list of tags",)),
    "broken JSON": ('["O", "O"', ("neither a list of tags",)),
    "JSON of no list": ('{"start": 0}', ("neither a list of tags",)),
    "tags and spans": (["O", {"start": 0, "end": 6, "label": "place"}], ("mixes tags and spans",)),
    "no label": ([{"start": 0, "end": 6}], ("'label'", "the keys 'start', 'end'")),
    "an empty label": ([{"start": 0, "end": 6, "label": None}], ("span 0 to 6 has no label",)),
    "no start": ([{"end": 6, "label": "place"}], ("'start', 'end'", "the keys 'end', 'label'")),
    "fractions": ([{"start": 0.5, "end": 6, "label": "place"}], ("whole numbers", "0.5")),
    "a pair": ([(0, 6)], ("'start', 'end'", "(0, 6)")),
    "an unknown type": ([(0, 6, "plaice")], ("'plaice' (row 3)", "did you mean 'place'")),
    "a negative start": ([(-1, 6, "place")], ("-1 to 6", "33 characters")),
    "beyond the end": ([(0, 34, "place")], ("0 to 34", "33 characters")),
    "nothing": ([(6, 6, "place")], ("6 to 6",)),
    "backwards": ([(6, 0, "place")], ("6 to 0",)),
    "a blank": ([(6, 7, "place")], ("6 to 7", "only spaces")),
    "overlapping": ([(0, 12, "place"), (7, 17, "symptom")], ("overlap", "0 to 12", "7 to 17")),
    "the same twice": ([(0, 6, "place"), (0, 6, "place")], ("overlap",)),
    "one word, two spans": ([(7, 9, "place"), (9, 12, "symptom")], ("cuts the word 'chest' at characters 7 to 12",)),
}


@pytest.mark.parametrize(("cell", "words"), CELLS.values(), ids=CELLS)
def test_label_cells(cell: object, words: tuple[str, ...]) -> None:
    rows = [dict(record) for record in RECORDS]
    rows[2] = {**rows[0], "found": cell}
    model = headed()
    with rejected(mh.errors.LabelError, "the list of rows", "head 'found'", "row 3", *words):
        mh.train(model, rows, "text", mh.Frozen(dtype="float32"))
    assert not model.heads["found"].trained


def test_words_all_labelled_alike() -> None:
    rows = [{"text": text, "found": []} for text in TEXTS]
    with rejected(mh.errors.LabelError, "head 'found'", "words of the training rows have the same label"):
        mh.train(headed(), rows, "text", mh.Frozen(dtype="float32"))


def test_labels_that_are_all_cut_away() -> None:
    rows = [
        {"text": text, "found": [None] * (len(text.split()) - 1) + ["O"]} for text in TEXTS if len(text.split()) > 4
    ]
    rows[0]["found"][-1] = "B-place"
    with rejected(mh.errors.LabelError, "head 'found'", "all were cut off", "max_length"):
        mh.train(headed(), rows, "text", mh.Frozen(dtype="float32"), eval_fraction=0, max_length=5)


def test_pairs_of_texts_have_no_words() -> None:
    model = headed()
    rows = [{**record, "other": "burn"} for record in RECORDS]
    with rejected(mh.errors.TextError, "pairs of texts"):
        mh.train(model, rows, ("text", "other"), mh.Frozen(dtype="float32"))
    model.heads["found"].trained = True
    with rejected(mh.errors.TextError, "pairs of texts"):
        model.predict([("a", "b")])


@pytest.mark.parametrize("words", [["mild", 5], [["mild"]], ["mild", b"cough"], ["mild\ud800"]])
def test_words_that_are_no_strings(words: list[object]) -> None:
    model = headed()
    model.heads["found"].trained = True
    with rejected(mh.errors.TextError, "row 2, word"):
        model.predict([["mild"], words])


def test_a_tokenizer_that_knows_no_characters(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mild", "cough"]))
    model = headed()

    class Slow:
        """What transformers' slow tokenizers are to us: they give ids, and no offsets."""

        is_fast = False
        model_max_length = 64
        pad_token_id = 0

    model.tokenizer = Slow()
    model.heads["found"].trained = True
    with rejected(mh.errors.InputError, "Slow", "the characters of a token", "fast tokenizer"):
        model.predict(["mild cough"])
    assert transformers.PreTrainedTokenizerFast.is_fast


IDS = torch.tensor([[2, 9, 10, 3], [2, 9, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
WORD_IDS = torch.tensor([[-1, 0, 1, -1], [-1, 0, -1, -1]])
GOOD = torch.tensor([[1, 2], [0, -100]])
TENSORS: dict[str, tuple[torch.Tensor | None, torch.Tensor, tuple[str, ...]]] = {
    "ids of another shape": (WORD_IDS[:, :3], GOOD, ("word_ids must have input_ids' shape (2, 4)", "(2, 3)")),
    "ids as fractions": (WORD_IDS.float(), GOOD, ("word_ids must be int64",)),
    "ids as booleans": (WORD_IDS > 0, GOOD, ("word_ids must be int64",)),
    "ids below -1": (WORD_IDS - 1, GOOD, ("word_ids range from -2",)),
    "ids without end": (WORD_IDS + 2**40, GOOD, ("word_ids range from",)),
    "one label a row": (WORD_IDS, GOOD[:, 0], ("Head 'found'", "(2, words)")),
    "labels of one row": (WORD_IDS, GOOD[:1], ("Head 'found'", "(2, words)", "(1, 2)")),
    "fewer labels than words": (WORD_IDS, GOOD[:, :1], ("(2, 2)", "word of word_ids", "(2, 1)")),
    "fewer labels than tokens": (None, GOOD, ("(2, 4)", "token of input_ids", "(2, 2)")),
    "more labels than tokens": (None, torch.zeros((2, 5), dtype=torch.int64), ("(2, 4)", "(2, 5)")),
    "fractions": (WORD_IDS, GOOD.float(), ("integer class positions",)),
    "a tag that there is not": (WORD_IDS, GOOD + 4, ("class position", "0 to 4")),
}


@pytest.mark.parametrize(("word_ids", "labels", "words"), TENSORS.values(), ids=TENSORS)
def test_tensors(word_ids: torch.Tensor | None, labels: torch.Tensor, words: tuple[str, ...]) -> None:
    model = headed()
    with rejected(mh.errors.InputError, *words):
        model(IDS, MASK, word_ids=word_ids, labels={"found": labels})
    model(IDS, MASK, word_ids=WORD_IDS, labels={"found": GOOD}).loss.backward()


def test_labels_of_words_that_have_no_token_count_for_nothing() -> None:
    model = headed()
    wide = torch.tensor([[1, 2, 3], [0, 4, 4]])
    found = model(IDS, MASK, word_ids=WORD_IDS, labels={"found": wide})
    assert found.counts["found"] == 3
    assert torch.equal(found.loss, model(IDS, MASK, word_ids=WORD_IDS, labels={"found": GOOD}).loss)


RECORD_CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another scheme": (lambda spec: spec.update(scheme="IOB"), "scheme 'IOB'"),
    "no scheme": (lambda spec: spec.pop("scheme"), "scheme"),
    "another policy": (lambda spec: spec.update(subword=1), "subword 1"),
    "more labels": (lambda spec: spec.update(labels=["a", "b", "c"]), "shape"),
}


@pytest.mark.parametrize(("change", "word"), RECORD_CHANGES.values(), ids=RECORD_CHANGES)
def test_a_saved_head_that_was_tampered_with(
    change: Callable[[Any], None], word: str, tmp_path: Path, saved: Any
) -> None:
    import json

    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("found", mh.Tokens(["symptom", "place"]))
    model.save_pretrained(tmp_path / "out")
    record = json.loads((tmp_path / "out/heads.json").read_text())
    change(record["heads"]["found"]["spec"])
    write_signed(tmp_path / "out", record)
    with pytest.raises(mh.errors.CorruptCheckpointError, match=re.escape(word)):
        mh.HeadedModel.from_pretrained(tmp_path / "out")


def test_the_command_line_reports_what_a_token_head_does_not_take(saved: Any, tmp_path: Path, capsys: Any) -> None:
    from tests.unit.cli.test_app import called

    (tmp_path / "rows.jsonl").write_text(
        '{"text": "mild cough", "found": ["O", "B-x"]}\n{"text": "a", "found": ["O"]}\n'
    )
    for extra, word in (
        ('pool = "mean"', "nothing to pool"),
        ('scheme = "IOB"', "scheme 'IOB'"),
        ("layers = 1", "layers"),
    ):
        (tmp_path / "run.toml").write_text(
            f'data = "rows.jsonl"\nbackbone = "{saved("bert")}"\ntext = "text"\nout = "model"\n'
            f'[heads.found]\nkind = "tokens"\n{extra}\n'
        )
        assert called("train", "--config", str(tmp_path / "run.toml")) == 1
        assert word in capsys.readouterr().err
    assert not np.any([path.name == "model" for path in tmp_path.iterdir()])
