"""The weights of a table's rows, read and checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.data.weights import read_weights
from tests.families import BY_NAME, tokenizer_for


def weights(cells: list[Any], used: list[bool] | None = None) -> np.ndarray:
    rows = [{"text": f"t{place}", "w": cell} for place, cell in enumerate(cells)]
    return read_weights(read_table(rows), "w", np.array([True] * len(cells) if used is None else used))


def test_weights_are_relative_to_their_mean() -> None:
    np.testing.assert_allclose(weights([1, 2.0, 3]), [0.5, 1.0, 1.5])
    np.testing.assert_allclose(weights(["1", " 2.0 ", "3e0"]), [0.5, 1.0, 1.5])
    np.testing.assert_allclose(weights(["0,5", "1,5"]), [0.5, 1.5])
    np.testing.assert_allclose(weights([1e308, 1e308, 0]), [1.5, 1.5, 0.0])
    np.testing.assert_array_equal(weights([1e-320, 1e300]), [0.0, 2.0])
    np.testing.assert_array_equal(weights([True, False, True]), [1.5, 0.0, 1.5])


def test_only_rows_that_are_used_need_a_weight() -> None:
    np.testing.assert_allclose(weights([None, 2, "x", 4], [False, True, False, True]), [0, 2 / 3, 0, 4 / 3])


ERRORS: dict[str, tuple[list[Any], str]] = {
    "missing": ([1, None], "row 2 has no weight"),
    "empty": (["1", ""], "row 2 has no weight"),
    "not a number": ([1.5, float("nan")], "row 2 has no weight"),
    "negative": ([1, -0.5], "-0.5 (row 2) is no finite number of at least 0"),
    "infinite": ([1, float("inf")], "inf (row 2) is no finite number"),
    "too large": ([1, 10**400], "(row 2) is no finite number"),
    "a text": ([1, "heavy"], "'heavy' (row 2) is no finite number"),
    "a list": ([1, [2]], "[2] (row 2) is no finite number"),
    "all zero": ([0, 0], "all weights are 0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_row(case: str) -> None:
    cells, words = ERRORS[case]
    with pytest.raises(mh.errors.DataError) as caught:
        weights(cells)
    assert str(caught.value).startswith("the list of rows: weight column 'w': ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


COLUMNS: dict[str, tuple[Any, str]] = {
    "no column": ("wght", "has no column 'wght'"),
    "the text": ("note", "weight column 'note' is also a text column"),
    "a label": ("kind", "weight column 'kind' is also the label column of head 'sort'"),
    "not a name": (3, "weight must be a column's name, got 3"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_the_column_is_neither_text_nor_label(case: str) -> None:
    column, words = COLUMNS[case]
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("sort", mh.Multiclass(["a", "b"], column="kind", reads=mh.Hidden()))
    rows = [{"note": f"text {row}", "kind": "ab"[row % 2], "w": 1} for row in range(8)]
    with pytest.raises(mh.errors.DataError) as caught:
        mh.train(model, rows, text="note", weight=column)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
