"""Label columns as people bring them: what is inferred, what is told, and what trains."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

import manyheads as mh
from manyheads.data.split import split_by_text
from manyheads.data.tables.table import read_table
from tests.families import BY_NAME, tokenizer_for


def inferred(cells: list[Any], **settings: Any) -> tuple[Any, str]:
    found = mh.infer_heads([{"label": cell} for cell in cells], "label", **settings)
    return found["label"], found.rules[0]


NFD = unicodedata.normalize("NFD", "Büro")

# Cells -> the labels that are inferred, and words of the rule.
COLUMNS: dict[str, tuple[list[Any], tuple[object, ...], tuple[str, ...]]] = {
    "-100": ([0, 1, -100, 1, 0] * 5, (0, 1), ("no label: -100 (5)", "missing=[]")),
    "-1": ([0, 1, -1, 1, 0, -1] * 5, (-1, 0, 1), ("-1 is a label", "missing=[-1]")),
    "words for no label": (
        ["yes", "no", "N/A", "nan", "None", "yes", "-"] * 5, ("no", "yes"), ("'N/A' (5)", "missing=[]"),
    ),
    "null": (["yes", "no", "null", "NULL", "<NA>", "#N/A", "NaN", "n/a", "?"] * 2, ("no", "yes"), ("no label",)),
    "not a word for no label": (["no", "nano", "noney", "no"] * 3, ("nano", "no", "noney"), ("3 distinct",)),
    "NFC and NFD": (["Büro", NFD, "Lager"] * 5, ("Büro", "Lager"), ("5 cells differ", "invisible")),
    "a zero-width space": (["yes", "yes\u200b", "no"] * 5, ("no", "yes"), ("5 cells differ",)),
    "a byte-order mark": (["\ufeffyes", "yes", "no"] * 5, ("no", "yes"), ("5 cells differ",)),
    "two spaces": (["full time", "full  time", "part time"] * 5, ("full time", "part time"), ("5 cells differ",)),
    "a no-break space": (["full time", "full\u00a0time", "part time"] * 5, ("full time", "part time"), ("5 cells",)),
    "outer spaces": (["yes ", " yes", "no"] * 5, ("no", "yes"), ("2 distinct strings",)),
    "joiners of emoji stay": (["👩\u200d👧", "👩", "👧"] * 3, ("👧", "👩", "👩\u200d👧"), ("3 distinct",)),
    "whole floats with gaps": ([1.0, None, 0.0, 1.0], (0, 1), ("whole numbers",)),
    "-100 among whole floats": ([1.0, None, 0.0, -100.0, 1.0], (0, 1), ("whole numbers",)),
    "whole floats as text": (["1.0", "", "0.0", "1.0"], ("0", "1"), ("whole numbers, as strings",)),
    "a list by pandas": (["['a', 'b']", "['a']", "[]", "['c']"], ("a", "b", "c"), ("lists of labels",)),
    "a list by numpy": (["['a' 'b']", "['a']", "['c' 'a']"], ("a", "b", "c"), ("lists of labels",)),
    "a list in JSON": (['["a", "b"]', '["a"]', "[]"], ("a", "b"), ("lists of labels",)),
    "multi-hot": ([[0, 0, 0], [1, 0, 0], [1, 1, 0]], (0, 1, 2), ("multi-hot lists of 3", "MultiLabel(labels=[...])")),
    "multi-hot as text": (["[0, 0]", "[1, 0]", "[1, 1]"], (0, 1), ("multi-hot lists of 2",)),
    "multi-hot as floats": ([[0.0, 0.0], [1.0, 0.0]], (0, 1), ("multi-hot lists of 2",)),
    "labels called 0 and 1": ([[0], [0, 1], [1], []], (0, 1), ("lists of labels",)),
    "one city and state": (
        ["New York, NY", "Albany, NY", "Boston, MA", "Austin, TX"] * 3,
        ("Albany, NY", "Austin, TX", "Boston, MA", "New York, NY"), ("separator=','",),
    ),
    "one group with commas": (
        ["Installation, Maintenance, and Repair", "Farming, Fishing, and Forestry", "Production"] * 3,
        ("Farming, Fishing, and Forestry", "Installation, Maintenance, and Repair", "Production"), ("3 distinct",),
    ),
    "one class with a slash": (["R&D / IT", "Sales", "R&D / IT"] * 2, ("R&D / IT", "Sales"), ("2 distinct",)),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_labels(case: str) -> None:
    cells, labels, words = COLUMNS[case]
    spec, rule = inferred(cells)
    assert spec.labels == labels
    assert spec.column == "label"
    assert all(word in rule for word in words), rule
    assert spec.encode(spec.label_cells(cells), "label", "table").labelled.any()


@pytest.mark.parametrize("separator", ["|", "#", ";", "; ", ", ", ",", "/", "\n"])
def test_separated_labels(separator: str) -> None:
    sets = [["sport"], ["politics", "sport"], ["culture"], ["sport", "culture"], ["politics"], ["culture", "politics"]]
    cells = [separator.join(labels) for labels in sets * 3]
    spec, rule = inferred(cells)
    assert isinstance(spec, mh.MultiLabel)
    assert spec.labels == ("culture", "politics", "sport")
    assert f"separated by {separator.strip(' ')!r}" in rule
    targets = spec.encode(cells, "label", "table").values
    assert [[spec.labels[at] for at in np.flatnonzero(row)] for row in targets] == [sorted(s) for s in sets * 3]


NUMBERS = {
    "decimal commas": (["3,5", "4,0", "2,5", "1,0"] * 6, "decimal commas", [3.5, 4.0, 2.5, 1.0] * 6),
    "many of them": ([f"{i // 10},{i % 10}" for i in range(100)], "decimal commas", [i / 10 for i in range(100)]),
    "beside whole numbers": (["3", "4,25", "-2"], "decimal commas", [3, 4.25, -2]),
    "-100 is a number": ([0.5, -100.0, 2.5], "floats", [0.5, -100.0, 2.5]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers(case: str) -> None:
    cells, words, values = NUMBERS[case]
    spec, rule = inferred(cells)
    assert isinstance(spec, mh.Regression)
    assert words in rule
    assert spec.encode(spec.label_cells(cells), "label", "table").values.tolist() == pytest.approx(values)


ERRORS: dict[str, tuple[list[Any], tuple[str, ...]]] = {
    "letter case": (["Positive", "positive", "no"] * 3, ("'Positive' (3 cells) and 'positive' (3 cells)", "case")),
    "thousands or decimals": (["1,234", "2,500", "3,000"], ("'1,234' may be 1234 or 1.234",)),
    "an object": ([{"a": "x"}, {"a": "y"}], ("(dict) with the keys ['a']",)),
    "votes for one label": ([{"a": 1}, {"a": 2}], ("one class only, 'a'",)),
    "only placeholders": (["nan", "N/A"], ("all 2 cells are empty",)),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    cells, words = ERRORS[case]
    with pytest.raises(mh.errors.LabelError) as caught:
        inferred(cells)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_what_counts_as_missing_can_be_switched() -> None:
    cells = ["mild", "None", "severe", "unknown"] * 3
    assert inferred(cells)[0].labels == ("mild", "severe", "unknown")
    assert inferred(cells, missing=[])[0].labels == ("None", "mild", "severe", "unknown")
    assert inferred(cells, missing=["unknown"])[0].labels == ("None", "mild", "severe")
    assert inferred([0, 1, -1] * 3, missing=[-1])[0].labels == (0, 1)
    assert inferred(["a#b", "c"] * 3, separator="#")[0].labels == ("a", "b", "c")
    # A label that was named is never missing.
    spec = mh.Multiclass(labels=["None", "mild", "severe"])
    assert spec.label_cells(["None", "N/A", "mild"]) == ["None", None, "mild"]


def test_ordered_categories_are_ordinal() -> None:
    sizes = pd.Categorical(["s", "l", "m", "s", None], categories=["s", "m", "l", "xl"], ordered=True)
    found = mh.infer_heads(
        pd.DataFrame({"size": sizes, "kind": pd.Categorical(["a", "b"] * 2 + ["a"])}), ["size", "kind"]
    )
    assert found["size"] == mh.Ordinal(labels=["s", "m", "l", "xl"], column="size")
    assert found["kind"] == mh.Multiclass(labels=["a", "b"], column="kind")


def test_class_label_features_keep_their_names() -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features({"label": names, "many": datasets.Sequence(names)})
    data = datasets.Dataset.from_dict({"label": [1, 0, -1, 1], "many": [[0], [1, 0], [], [1]]}, features=features)
    found = mh.infer_heads(data, ["label", "many"])
    assert found["label"].labels == ("no", "yes")
    assert found["many"] == mh.MultiLabel(labels=["no", "yes"], column="many")
    cells = read_table(data).values("label")
    assert found["label"].encode(cells, "label", "data").values.tolist() == [1, 0, -100, 1]
    # Numbers that were named as labels are found by the numbers of the names.
    assert mh.Multiclass(labels=[0, 1]).encode(cells, "label", "data").values.tolist() == [1, 0, -100, 1]


ALIKE = {
    "an integer for a float": (["1", "0"], ["1.0", "0.0"]),
    "a float for an integer": ([1, 0], ["1.0", 0.0]),
    "spaces": (["full time", "part time"], ["full  time", "part\u00a0time"]),
    "NFD": (["Büro", "Lager"], [NFD, "Lager"]),
}


@pytest.mark.parametrize("case", ALIKE)
def test_cells_that_look_like_a_label_are_that_label(case: str) -> None:
    labels, cells = ALIKE[case]
    assert mh.Multiclass(labels=labels).encode(cells, "head", "table").values.tolist() == [0, 1]


HOT = [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize("labels", [["toxic", "insult", "threat"], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("shape", [list, str, np.array], ids=["lists", "texts", "arrays"])
def test_multi_hot_cells_with_names(labels: list[Any], shape: Callable[..., Any]) -> None:
    spec = mh.MultiLabel(labels=labels)
    assert spec.encode([shape(row) for row in HOT], "head", "table").values.tolist() == HOT
    with pytest.raises(mh.errors.LabelError, match="row 1"):
        mh.MultiLabel(labels=["a", "b"]).encode([shape(row) for row in HOT], "head", "table")


@pytest.mark.parametrize("seed", range(6))
def test_a_class_with_one_row_stays_in_training(seed: int) -> None:
    texts = [f"text {row}" for row in range(97)]
    classes = [{"rare" if row == 96 else "often", ("ward", row % 2)} for row in range(97)]
    train, evaluate = split_by_text(texts, 0.1, seed, classes)
    assert 96 in train
    assert len(evaluate) == 10
    assert 3 <= sum(row % 2 for row in evaluate) <= 7


def test_rows_are_split_by_label() -> None:
    classes = [{row % 20} for row in range(200)]
    _, evaluate = split_by_text([f"text {row}" for row in range(200)], 0.1, 0, classes)
    assert sorted(row % 20 for row in evaluate) == list(range(20))
    # A class of one text in two rows is one group, and stays.
    train, _ = split_by_text(["a", "a", "b", "c"], 0.5, 0, [{0}, {0}, {1}, {1}])
    assert {0, 1} <= set(train.tolist())


def test_metrics_of_labels_that_only_the_evaluation_rows_have() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    rows = [{"text": f"{word} {row}", "kind": word} for row, word in enumerate(["pain", "cough"] * 6)]
    other = [*rows[:6], {"text": "pain 99", "kind": "burn"}]
    model.add_head("kind", mh.Multiclass(labels=["pain", "cough"]))
    result = mh.train(model, rows, "text", eval_data=other)
    guesses = [prediction["kind"].label for prediction in model.predict([row["text"] for row in other])]
    expected = f1_score([row["kind"] for row in other], guesses, average="macro", zero_division=0)
    assert result.metrics["kind"]["macro_f1"] == pytest.approx(expected)
    assert result.metrics["kind"]["rows"] == 7
    assert "'burn'" in " ".join(result.notes)
