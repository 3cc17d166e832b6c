"""Texts keep their place; empty ones are flagged, other types rejected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from manyheads.data.tables.table import read_table
from manyheads.data.texts.texts import read_texts, read_texts_from_list
from manyheads.errors import MissingColumnError, TextError


def test_one_column() -> None:
    table = read_table([{"t": " a "}, {"t": None}, {"t": " \n"}, {"t": ""}, {"t": "NA"}])
    texts = read_texts(table, "t")
    assert texts.texts == [" a ", "", "", "", "NA"]
    assert texts.empty.dtype == np.bool_
    assert texts.empty.tolist() == [False, True, True, True, False]
    assert len(texts) == 5


@pytest.mark.parametrize("names", [("a", "b"), ["a", "b"]])
def test_a_pair_is_empty_only_where_both_are_empty(names: tuple[str, str]) -> None:
    table = read_table([{"a": "x", "b": "y"}, {"a": " ", "b": "y"}, {"a": "x"}, {"a": " ", "b": None}])
    texts = read_texts(table, names)
    assert texts.texts == [("x", "y"), ("", "y"), ("x", ""), ("", "")]
    assert texts.empty.tolist() == [False, False, False, True]


def test_a_number_is_no_text() -> None:
    table = read_table([{"note": "a"}] * 40 + [{"note": 3.5}])
    with pytest.raises(TextError) as caught:
        read_texts(table, "note")
    assert str(caught.value) == (
        "the list of rows, column 'note', row 41: a text must be a string, got 3.5 (float); convert it to text first"
    )


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(TypeError, match=r"got \{0: 0, 1: 1.{26}\.\.\. \(dict\)"):
        read_texts(read_table([{"a": {n: n for n in range(100)}}]), "a")


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(TextError, match=r"row 2: .*surrogate"):
        read_texts_from_list(["ü", "a\ud800"])


@pytest.mark.parametrize("names", [(), ("a",), ("a", "a", "a"), ("a", 1)])
def test_neither_one_nor_two_names(names: tuple[str, ...]) -> None:
    with pytest.raises(TextError, match="one column name or a pair"):
        read_texts(read_table([{"a": "x"}]), names)


def test_unknown_column() -> None:
    with pytest.raises(MissingColumnError, match="did you mean 'note'"):
        read_texts(read_table([{"note": "x"}]), "notes")


def test_list_of_strings() -> None:
    texts = read_texts_from_list(["a", None, " ", float("nan"), np.str_("b")])
    assert texts.texts == ["a", "", "", "", "b"]
    assert texts.empty.tolist() == [False, True, True, True, False]
    assert all(type(text) is str for text in texts.texts)


def test_list_of_pairs() -> None:
    texts = read_texts_from_list([("a", "b"), ["c", None], None, (None, " ")])
    assert texts.texts == [("a", "b"), ("c", ""), ("", ""), ("", "")]
    assert texts.empty.tolist() == [False, False, True, True]


def test_no_texts_are_texts() -> None:
    assert len(read_texts_from_list([])) == 0
    assert read_texts_from_list([]).empty.dtype == np.bool_


def test_columns_of_other_libraries_are_lists() -> None:
    assert read_texts_from_list(pd.Series(["a", None], index=[3, 4])).texts == ["a", ""]
    assert read_texts_from_list(np.array(["a", "b"])).texts == ["a", "b"]
    assert read_texts_from_list(text for text in "ab").texts == ["a", "b"]


def test_a_bare_string_is_no_list() -> None:
    with pytest.raises(TextError, match=r"wrap it in a list: \[text\]"):
        read_texts_from_list("a text")


@pytest.mark.parametrize("items", [b"a", {"a": 1}, 5, None])
def test_what_is_no_list(items: object) -> None:
    with pytest.raises(TextError, match="must be a list"):
        read_texts_from_list(items)  # type: ignore[arg-type]


@pytest.mark.parametrize("items", [["a", ("b", "c")], [None, ("b", "c"), "a"]])
def test_strings_and_pairs_do_not_mix(items: list[object]) -> None:
    with pytest.raises(TextError, match="all texts as pairs, or none"):
        read_texts_from_list(items)


@pytest.mark.parametrize("item", [1, b"a", ("a", "b", "c"), {"text": "a"}])
def test_an_item_of_another_type(item: object) -> None:
    with pytest.raises(TextError, match="row 2"):
        read_texts_from_list(["a", item])
