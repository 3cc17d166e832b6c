"""Bad input is rejected in one line that shows where and what to do, and nothing is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import manyheads as mh
from tests.families import BY_NAME, POSITIONS, tokenizer_for

HEADS = {
    "urgency": lambda: mh.Multiclass(labels=["routine", "urgent"]),
    "topics": lambda: mh.MultiLabel(labels=["pain", "fever"]),
    "hours": lambda: mh.Regression(),
}


def headed(family: str = "bert", heads: tuple[str, ...] = ("urgency",)) -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    for name in heads:
        model.add_head(name, HEADS[name]())
    return model


def state(model: mh.HeadedModel) -> dict[str, torch.Tensor]:
    tensors = {f"backbone.{name}": tensor for name, tensor in model.backbone.state_dict().items()}
    for name, head in model.heads.items():
        tensors |= {f"{name}.{inner}": tensor for inner, tensor in head.state_dict().items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


@contextmanager
def rejected(expected: type[Exception], *words: str) -> Iterator[None]:
    """Expect one line, of that class and of manyheads' own, which holds these words."""
    with pytest.raises(expected) as caught:
        yield
    message = str(caught.value)
    assert isinstance(caught.value, mh.ManyheadsError)
    assert message
    assert "\n" not in message
    for word in words:
        assert word in message
    assert len(message.split()) > 5, "too short to name the owner, the place and the next step"


def rejected_training(
    tmp_path: Path,
    model: mh.HeadedModel,
    data: object,
    expected: type[Exception],
    *words: str,
    **keywords: object,
) -> None:
    """Train into a folder, expect the error, and find nothing written and nothing changed."""
    before, listing = state(model), sorted(path.name for path in tmp_path.iterdir())
    with rejected(expected, *words):
        mh.train(model, data, text="note", out=tmp_path / "out", **keywords)
    assert sorted(path.name for path in tmp_path.iterdir()) == listing
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
    assert not any(head.trained for head in model.heads.values())


def rows(head: str = "urgency", good: tuple[object, ...] = ("routine", "urgent"), count: int = 12) -> list[dict]:
    notes = ["mild cough", "severe chest pain since two hours", "knee swollen and red"]
    return [{"note": f"{notes[row % 3]} {'again ' * row}", head: good[row % len(good)]} for row in range(count)]


def with_cell(cell: object, head: str = "urgency", good: tuple[object, ...] = ("routine", "urgent")) -> list[dict]:
    """Return rows whose fifth one holds ``cell``."""
    table = rows(head, good)
    table[4][head] = cell
    return table


def write_csv(path: Path, table: list[dict]) -> Path:
    pd.DataFrame(table).to_csv(path, index=False)
    return path


# --- files and columns ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["", "\n\n", "note,urgency\n", "note,urgency"],
    ids=["0 bytes", "blank", "header", "no newline"],
)
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_an_empty_file(tmp_path: Path, content: str, ending: str) -> None:
    path = tmp_path / f"notes.{ending}"
    path.write_text(content)
    expected = mh.errors.EmptyTableError if not content or ending in ("csv", "tsv") else mh.errors.DataError
    rejected_training(tmp_path, headed(), path, expected, f"notes.{ending}")


def test_an_empty_list_is_an_empty_table(tmp_path: Path) -> None:
    rejected_training(tmp_path, headed(), [], mh.errors.EmptyTableError)


def test_no_such_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "notes.csv", rows())
    rejected_training(tmp_path, headed(), tmp_path / "note.csv", mh.errors.DataError, "note.csv", "'notes.csv'")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00n\x00o",
        b"\x80\x04\x95pickle",
        b"note,urgency\na,b,c\n",
        b'note,urgency\n"open,b\n',
        bytes(range(256)),
    ],
    ids=["UTF-16", "pickle", "ragged", "open quote", "noise"],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "xlsx"])
@pytest.mark.filterwarnings("ignore:.*quotes are read as part of the texts")
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"notes.{ending}").write_bytes(content)
    rejected_training(tmp_path, headed(), tmp_path / f"notes.{ending}", mh.errors.DataError, f"notes.{ending}")


def test_a_missing_text_column(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "notes.csv", [{"notes": "a b", "urgency": "routine"}])
    expected = mh.errors.MissingColumnError
    rejected_training(tmp_path, headed(), path, expected, "notes.csv", "'note'", "did you mean 'notes'", "'urgency'")


def test_a_missing_label_column(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "notes.csv", rows("urgencey"))
    expected = mh.errors.MissingColumnError
    rejected_training(tmp_path, headed(), path, expected, "notes.csv", "'urgency'", "did you mean 'urgencey'", "'note'")


def test_a_missing_label_column_of_the_evaluation_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "held_out.csv", rows("level"))
    expected = mh.errors.MissingColumnError
    rejected_training(tmp_path, headed(), rows(), expected, "held_out.csv", "'urgency'", "'level'", eval_data=path)


def test_a_label_column_named_by_the_head_is_the_one_that_is_missed(tmp_path: Path) -> None:
    model = headed(heads=())
    model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent"], column="level"))
    rejected_training(tmp_path, model, rows(), mh.errors.MissingColumnError, "'level'", "'urgency'")


def test_a_head_to_train_that_does_not_exist(tmp_path: Path) -> None:
    expected = mh.errors.UnknownHeadError
    rejected_training(tmp_path, headed(), rows(), expected, "did you mean 'urgency'", heads=["urgncy"])


def test_no_head_to_train(tmp_path: Path) -> None:
    rejected_training(tmp_path, headed(heads=()), rows(), mh.errors.HeadError, "add_head")


# --- labels ---------------------------------------------------------------------------------------


def test_an_unseen_label_far_from_every_known_one_is_still_a_sentence(tmp_path: Path) -> None:
    words = ("'urgency'", "'zzz'", "row 5", "labels. Correct")
    rejected_training(tmp_path, headed(), with_cell("zzz"), mh.errors.LabelError, *words)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("missing", [None, math.nan, "", "  ", np.nan, pd.NA])
def test_all_labels_missing(tmp_path: Path, head: str, missing: object) -> None:
    model = headed(heads=(head,))
    rejected_training(tmp_path, model, rows(head, (missing,)), mh.errors.LabelError, f"'{head}'")


def test_all_labels_of_one_head_missing_names_that_head(tmp_path: Path) -> None:
    model = headed(heads=("urgency", "hours"))
    table = [{**row, "hours": None} for row in rows()]
    rejected_training(tmp_path, model, write_csv(tmp_path / "n.csv", table), mh.errors.LabelError, "'hours'", "n.csv")


ONE_CLASS = {"urgency": ("urgent",), "topics": (["pain"],)}


@pytest.mark.parametrize("head", ONE_CLASS)
def test_one_class_only(tmp_path: Path, head: str) -> None:
    model = headed(heads=(head,))
    rejected_training(tmp_path, model, rows(head, ONE_CLASS[head]), mh.errors.LabelError, f"'{head}'")


def test_a_head_with_labels_on_one_text_only_is_named(tmp_path: Path) -> None:
    table = [{**row, "hours": 2.5 if place == 3 else None} for place, row in enumerate(rows())]
    rejected_training(tmp_path, headed(heads=("urgency", "hours")), table, mh.errors.DataError, "'hours'")


@pytest.mark.parametrize("hidden", [(), (8,)], ids=["linear", "stacked"])
def test_targets_whose_squares_no_float_holds_still_train(hidden: tuple[int, ...]) -> None:
    model = headed(heads=())
    model.add_head("hours", mh.Regression(hidden=hidden))
    mh.train(model, rows("hours", (1e30, 3e30, 2e30)), text="note")
    assert all(tensor.isfinite().all() for tensor in model.heads["hours"].state_dict().values())


@pytest.mark.parametrize("text", ["inf", "-inf", "Infinity", "1e999", "1e300", "about 3", "three", "0x1f"])
def test_a_csv_cell_that_is_not_a_finite_number(tmp_path: Path, text: str) -> None:
    path = write_csv(tmp_path / "notes.csv", with_cell(text, "hours", (1.0, 2.5)))
    words = ("notes.csv", "'hours'", repr(text), "row 5")
    rejected_training(tmp_path, headed(heads=("hours",)), path, mh.errors.LabelError, *words)


NOT_NUMBERS = {
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "infinite in numpy": np.float32("inf"),
    "infinite in fp32": 1e300,
    "an integer beyond floats": 10**400,
    "a list": [1.0],
    "a dict": {"a": 1},
}


@pytest.mark.parametrize("number", NOT_NUMBERS.values(), ids=NOT_NUMBERS)
@pytest.mark.parametrize("make", [list, pd.DataFrame], ids=["rows", "pandas"])
def test_a_table_cell_that_is_not_a_finite_number(tmp_path: Path, number: object, make: Callable) -> None:
    table = make(with_cell(number, "hours", (1.0, 2.5)))
    rejected_training(tmp_path, headed(heads=("hours",)), table, mh.errors.LabelError, "'hours'", "row 5")


@pytest.mark.parametrize("head", HEADS)
def test_a_true_missing_value_is_unlabelled_and_trains(head: str) -> None:
    good = {"urgency": ("routine", "urgent"), "topics": (["pain"], ["fever"]), "hours": (1.0, 2.5)}[head]
    model = headed(heads=(head,))
    mh.train(model, pd.DataFrame(with_cell(None, head, good)), text="note")
    assert model.heads[head].trained


@pytest.mark.parametrize("cell", [{"a": 1}, ["routine"], b"routine", 1.5])
def test_a_label_of_a_type_that_no_label_has(tmp_path: Path, cell: object) -> None:
    rejected_training(tmp_path, headed(), with_cell(cell), mh.errors.LabelError, "'urgency'", "row 5")


@pytest.mark.parametrize("cell", ['["pain", {"a": 1}]', [["pain"]], '["pain"', {"pain": 2}, {"pain": "much"}, 7])
def test_a_multilabel_cell_that_is_not_a_list_of_labels(tmp_path: Path, cell: object) -> None:
    table = with_cell(cell, "topics", (["pain"], ["fever"]))
    rejected_training(tmp_path, headed(heads=("topics",)), table, mh.errors.LabelError, "'topics'", "row 5")


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [5, 2.5, True, b"mild cough", ["mild", 5], [["mild"]], {"text": "mild"}])
def test_a_text_that_is_not_a_string(tmp_path: Path, text: object) -> None:
    table = rows()
    table[4]["note"] = text
    rejected_training(tmp_path, headed(), table, mh.errors.TextError, "'note'", "row 5")
    with rejected(mh.errors.TextError, "row 2"):
        headed().predict(["mild cough", text])


@pytest.mark.parametrize("texts", ["mild cough", b"mild cough", 5, None, {"text": "mild cough"}])
def test_texts_that_are_no_list(texts: object) -> None:
    with rejected(mh.errors.TextError, "list"):
        headed().predict(texts)


@pytest.fixture(params=["gpt2", "llama", "bert", "t5"])
def predictor(request: pytest.FixtureRequest) -> mh.HeadedModel:
    """A model of every way to treat a text without tokens: with special tokens, and with none at all."""
    model = headed(request.param, ("urgency", "hours"))
    for head in model.heads.values():
        head.trained = True
    return model


@pytest.mark.parametrize("empty", ["", "   ", "\n\t"])
def test_empty_text_is_predicted_and_flagged(predictor: mh.HeadedModel, empty: str) -> None:
    predictions = predictor.predict(["mild cough", empty, "burn"])
    assert predictions.empty.tolist() == [False, True, False]
    assert np.isfinite(predictions.scores["urgency"]).all()
    assert math.isfinite(predictions[1]["hours"].value)
    alone = predictor.predict(["mild cough", "burn"])
    np.testing.assert_allclose(predictions.scores["urgency"][[0, 2]], alone.scores["urgency"], atol=1e-6)


def test_only_empty_texts(predictor: mh.HeadedModel) -> None:
    predictions = predictor.predict(["", " "])
    assert predictions.empty.all()
    assert np.isfinite(predictions.scores["urgency"]).all()


def test_a_long_text_is_truncated_and_flagged(predictor: mh.HeadedModel) -> None:
    long = "pain " * (3 * POSITIONS)
    predictions = predictor.predict(["mild cough", long, "burn"])
    assert predictions.truncated.tolist() == [False, True, False]
    assert predictions.truncated.sum() == 1
    assert not predictions.empty.any()
    assert np.isfinite(predictions.scores["urgency"]).all()


def test_a_text_of_exactly_the_limit_is_whole(predictor: mh.HeadedModel) -> None:
    specials = len(predictor.tokenizer("")["input_ids"])
    exact, over = "pain " * (POSITIONS - specials), "pain " * (POSITIONS - specials + 1)
    assert predictor.predict([exact, over]).truncated.tolist() == [False, True]


def test_a_long_text_is_rejected_on_request(predictor: mh.HeadedModel) -> None:
    with rejected(mh.ManyheadsError, "row 2", str(POSITIONS)):
        predictor.predict(["mild cough", "pain " * (3 * POSITIONS)], long_text="error")
    assert len(predictor.predict(["mild cough"], long_text="error")) == 1


def test_an_unknown_way_to_treat_long_texts(predictor: mh.HeadedModel) -> None:
    with rejected(mh.ManyheadsError, "long_text", "eror"):
        predictor.predict(["mild cough"], long_text="eror")


def test_training_leaves_empty_texts_out_cuts_long_ones_and_reports_it() -> None:
    model, table = headed("gpt2"), rows()
    table[3]["note"], table[4]["note"], table[5]["note"] = "", None, "pain " * (3 * POSITIONS)
    result = mh.train(model, table, text="note")
    assert all(tensor.isfinite().all() for tensor in model.heads["urgency"].state_dict().values())
    assert sum(result.rows["urgency"].values()) == 10
    assert any(note.startswith("the list of rows: 2 rows have no text") for note in result.notes)
    assert any(note.startswith("Longer than the limit and cut: 1 text.") for note in result.notes)


def test_training_rejects_long_texts_on_request_by_their_row_in_the_table(tmp_path: Path) -> None:
    table = rows()
    table[2]["note"], table[8]["note"] = "", "pain " * (3 * POSITIONS)
    rejected_training(tmp_path, headed(), table, mh.ManyheadsError, "row 9", str(POSITIONS), long_text="error")


def test_only_empty_texts_teach_nothing(tmp_path: Path) -> None:
    table = [{**row, "note": " "} for row in rows()]
    rejected_training(tmp_path, headed(), table, mh.errors.DataError, "text")


# --- places ---------------------------------------------------------------------------------------


def test_an_output_path_that_exists(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    rejected_training(tmp_path, headed(), rows(), mh.errors.OutputExistsError, "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_an_output_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    rejected_training(tmp_path, headed(), rows(), mh.errors.OutputExistsError, "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_path_that_exists_is_rejected_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    model = headed()
    model.backbone.get_input_embeddings().register_forward_hook(lambda *_: pytest.fail("the backbone was run"))
    rejected_training(tmp_path, model, rows(), mh.errors.OutputExistsError)


def test_an_unknown_backbone(tmp_path: Path) -> None:
    with rejected(mh.errors.UnknownBackboneError, "no_such_model"):
        mh.HeadedModel.from_pretrained(tmp_path / "no_such_model")


NOT_CHECKPOINTS = {
    "an empty folder": {},
    "a folder of notes": {"notes.txt": "mine"},
    "no weights": {"config.json": json.dumps({"model_type": "bert", "architectures": ["BertForMaskedLM"]})},
    "config is no JSON": {"config.json": "{", "model.safetensors": ""},
    "config is a list": {"config.json": "[]", "model.safetensors": ""},
    "an unknown architecture": {"config.json": '{"model_type": "nosuch"}', "model.safetensors": ""},
    "weights cut to nothing": {
        "config.json": json.dumps({"model_type": "bert", "architectures": ["BertForMaskedLM"]}),
        "model.safetensors": "",
    },
    "heads without a backbone": {"heads.json": "{}"},
}


@pytest.mark.parametrize("files", NOT_CHECKPOINTS.values(), ids=NOT_CHECKPOINTS)
def test_a_folder_that_is_not_a_checkpoint(tmp_path: Path, files: dict[str, str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    with rejected(mh.ManyheadsError, str(folder)):
        mh.HeadedModel.from_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)


def test_a_folder_of_one_head_is_no_model(tmp_path: Path) -> None:
    headed().save_head("urgency", tmp_path / "urgency")
    with rejected(mh.ManyheadsError, str(tmp_path / "urgency"), "load_head"):
        mh.HeadedModel.from_pretrained(tmp_path / "urgency")


def test_a_file_that_is_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x80\x04")
    with rejected(mh.ManyheadsError, "model.bin"):
        mh.HeadedModel.from_pretrained(tmp_path / "model.bin")


@pytest.mark.parametrize("name", ["a.b", "a/b", "..", "../up", "a\\b", "", "lm", " a", "a\n", "a\0b", 5, None])
def test_a_name_that_no_head_may_have(name: object) -> None:
    model = headed()
    with rejected(mh.errors.HeadNameError):
        model.add_head(name, mh.Regression())
    assert list(model.heads) == ["urgency"]


def test_a_head_name_that_is_taken() -> None:
    with rejected(mh.errors.HeadNameError, "'urgency'", "remove_head"):
        headed().add_head("urgency", mh.Regression())


@pytest.mark.parametrize("spec", [mh.Multiclass, "multiclass", {"labels": ["a", "b"]}, None], ids=repr)
def test_what_is_no_spec(spec: object) -> None:
    with rejected(mh.ManyheadsError, "'ward'"):
        headed().add_head("ward", spec)
