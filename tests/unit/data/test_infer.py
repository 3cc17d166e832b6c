"""The head that a column's values ask for."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from manyheads.data.infer import explain, infer_column, infer_heads
from manyheads.errors import LabelError, MissingColumnError
from manyheads.heads import Multiclass, MultiLabel, Regression


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a", None, "", "C", "a"], ("C", "a", "b")),
        (["a", " a", "b "], ("a", "b")),
        ([1, 0, None, 1], (0, 1)),
        ([10, 9, 9, 10], (9, 10)),
        ([np.int64(1), np.int64(0), np.int64(1)], (0, 1)),
        ([True, False, None], (False, True)),
        (["1", "0", "1", None], ("0", "1")),
        (["10", "9", "10", "9"], ("9", "10")),
        (["01", "1", "2", "1", "01"], ("01", "1", "2")),
        ([1.0, None, 0.0, 1.0], (0, 1)),
        (["1.0", "", "0.0", "1.0"], ("0", "1")),
        (["True", "False"], ("False", "True")),
    ],
)
def test_multiclass(values: list[object], labels: tuple[object, ...]) -> None:
    spec = infer_column("y", values, "ads.csv").spec
    assert isinstance(spec, Multiclass)
    assert spec.labels == labels
    assert [type(label) for label in spec.labels] == [type(label) for label in labels]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([["b", "a"], [], None, ["a"]], ("a", "b")),
        ([[2, 1], [1]], (1, 2)),
        (['["b", "a"]', "[]", None], ("a", "b")),
        (["a|b", "b", "a | c"], ("a", "b", "c")),
        (["red|blue", "red", "green"], ("blue", "green", "red")),
        ([["a"], [], ["a"]], ("a",)),
        ([["a"], "b|a"], ("a", "b")),
        ([("a", None), np.array(["b"])], ("a", "b")),
    ],
)
def test_multilabel(values: list[object], labels: tuple[object, ...]) -> None:
    spec = infer_column("y", values, "ads.csv").spec
    assert isinstance(spec, MultiLabel)
    assert spec.labels == labels


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 1.0, None],
        [1.0, 2.0, 1.0, 2.0],
        [1, 2.5],
        list(range(21)) * 3,
        [1, 2, 3],
        ["0.5", "1", "-2e3"],
        [str(number) for number in range(30)],
        [1.0, None, 2.0],
    ],
)
def test_regression(values: list[object]) -> None:
    assert infer_column("y", values, "ads.csv").spec == Regression(column="y")


@pytest.mark.parametrize(
    "values",
    [
        ["Nurse (m|w|d)", "Doctor (m|w|d)", "Nurse (m|w|d)"],
        ["Law | Order", "Law | Order", "Health | Care"],
        ["Foo | Inc", "Bar | Inc", "Baz | Inc", "Foo | Inc"],
        ["a|b", "c", "a|b"],
    ],
)
def test_a_bar_may_be_text(values: list[object]) -> None:
    spec = infer_column("y", values, "ads.csv").spec
    assert isinstance(spec, Multiclass)
    assert set(spec.labels) == set(values)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "all 0 cells are empty"),
        ([None, "", " ", float("nan")], "all 4 cells are empty"),
        (["a", "a", None], "one class only, 'a'"),
        ([True, True], "one class only, True"),
        ([3, 3, 3], "one class only, 3"),
        ([0.5, 0.5], "one value only, 0.5"),
        ([["a"], ["a"]], "the same labels in every cell, 'a'"),
        ([[], []], "the same labels in every cell, none"),
        ([f"text {row}" for row in range(51)], "51 of 51 values differ, .* free text or an id"),
        ([[f"text {row}"] for row in range(60)], "60 of 60 values differ"),
        ([1, "a"], r"mixes integers \(row 1\) and strings \(row 2\)"),
        ([None, True, 1], r"mixes bools \(row 2\) and integers \(row 3\)"),
        ([["a"], [1]], "several types"),
        ([["a"], ["b"], [0.25, "a"]], "row 3 contains a list with"),
        ([["a"], [0.5]], "row 2 contains a list with 0.5"),
        ([0.5, float("inf")], "row 2 contains inf"),
        ([datetime.date(2024, 1, 1)], r"row 1 contains .* \(date\)"),
        ([{"a": "much"}], r"\(dict\)"),
        ([{"a": 1}], "one class only, 'a'"),
        ([{}, {}], "its mappings name no label"),
        ([{"a": 1}, {1: 1}], "its mappings mix labels of several types"),
    ],
)
def test_errors_name_column_and_reason(values: list[object], reason: str) -> None:
    with pytest.raises(LabelError, match=rf"^ads\.csv, column 'y': .*{reason}") as caught:
        infer_column("y", values, "ads.csv")
    assert "\n" not in str(caught.value)


def test_many_classes_that_repeat_are_classes() -> None:
    assert isinstance(infer_column("y", [f"c{row % 60}" for row in range(120)], "a").spec, Multiclass)
    assert isinstance(infer_column("y", [f"c{row}" for row in range(50)], "a").spec, Multiclass)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([0, 1, 1], "'y': 2 distinct integers -> Multiclass(2 labels)"),
        (["a", "b"], "'y': 2 distinct strings -> Multiclass(2 labels)"),
        ([0.5, 1.5], "'y': 2 distinct floats -> Regression"),
        ([["a"], []], "'y': lists of labels, 1 distinct -> MultiLabel(1 label)"),
        (
            ["a|b", "b", "a"],
            "'y': labels separated by '|' (see separator=), 2 distinct -> MultiLabel(2 labels)",
        ),
        (["1", "0", "0"], "'y': 2 distinct integers, as strings -> Multiclass(2 labels)"),
    ],
)
def test_the_rule_is_told(values: list[object], rule: str) -> None:
    assert infer_column("y", values, "a").rule == rule


def test_heads_of_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ads.csv"
    path.write_text("ad,job_type,education\na,x,0\nb,y,1\nc,x,1\n")
    with caplog.at_level(logging.INFO, logger="manyheads"):
        heads = infer_heads(path, ["job_type", "education"])
    assert heads == {
        "job_type": Multiclass(labels=["x", "y"], column="job_type"),
        "education": Multiclass(labels=["0", "1"], column="education"),
    }
    assert explain(heads) == caplog.messages
    assert explain(heads)[0] == "'job_type': 2 distinct strings -> Multiclass(2 labels)"


def test_one_column_may_be_given_as_a_string() -> None:
    frame = pd.DataFrame({"y": [0, 1, None, 1]})
    assert infer_heads(frame, "y") == {"y": Multiclass(labels=[0, 1], column="y")}


def test_unknown_column() -> None:
    with pytest.raises(MissingColumnError, match="did you mean 'label'"):
        infer_heads([{"label": "a"}], ["labels"])


def test_inferred_heads_read_the_cells_they_came_from() -> None:
    for values in ([1.0, None, 0.0, 1.0], ["a ", "b"], ["1.0", "", "0.0", "1.0"], ["a|b", "b", "a"]):
        infer_column("y", values, "a").spec.encode(values, "y", "a")
