"""Mappings of labels to shares, as tables contain them."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.heads import ShareTargets

LABELS = ["routine", "urgent", "emergency"]
CELLS = [{"routine": 2, "urgent": 1}, {"urgent": 0.25, "emergency": 0.75}, None]
SHARES = np.array([[2 / 3, 1 / 3, 0], [0, 0.25, 0.75], [np.nan] * 3], dtype=np.float32)


def encoded(cells: list[Any], spec: Any = None) -> np.ndarray:
    spec = mh.Multiclass(labels=LABELS) if spec is None else spec
    return spec.encode(spec.label_cells(cells), "urgency", "notes.csv").values


def test_shares_are_divided_by_their_sum() -> None:
    np.testing.assert_allclose(encoded(CELLS), SHARES)
    np.testing.assert_allclose(encoded([{"routine": 1e308, "urgent": 1e308}]), [[0.5, 0.5, 0]])
    votes = {"routine": Decimal("1.5"), "urgent": np.int64(1), "emergency": True}
    np.testing.assert_allclose(encoded([votes]), [[1.5 / 3.5, 1 / 3.5, 1 / 3.5]], rtol=1e-6)


def test_labels_beside_shares_are_certain_and_a_mapping_without_a_label_is_missing() -> None:
    cells = [{"routine": 1}, "urgent ", {}, {"routine": None, "urgent": None}, "", {"urgent": 0, "emergency": 3}]
    expected = [[1, 0, 0], [0, 1, 0], [np.nan] * 3, [np.nan] * 3, [np.nan] * 3, [0, 0, 1]]
    np.testing.assert_array_equal(encoded(cells), expected)


def test_multilabel_cells_are_probabilities_and_need_no_sum() -> None:
    spec = mh.MultiLabel(labels=LABELS)
    cells = [{"routine": 0.8, "urgent": 0.6}, {}, ["urgent"], "routine|emergency", None, {"urgent": True}]
    expected = [[0.8, 0.6, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1], [np.nan] * 3, [0, 1, 0]]
    np.testing.assert_allclose(encoded(cells, spec), expected, rtol=1e-6)
    np.testing.assert_array_equal(encoded([[0, 1, 1], {"urgent": 0.5}, [1, 0, 0]], spec)[0], [0, 1, 1])


@pytest.mark.parametrize("form", ["json lines", "csv", "csv by pandas", "struct", "map", "pandas", "polars", "parquet"])
def test_every_table_contains_shares(form: str, tmp_path: Path) -> None:
    rows = [{"text": f"text {place}", "urgency": cell} for place, cell in enumerate(CELLS)]
    source: Any = tmp_path / "table"
    if form == "json lines":
        source = source.with_suffix(".jsonl")
        source.write_text("\n".join(pd.Series(row).to_json() for row in rows))
    elif form.startswith("csv"):
        source = source.with_suffix(".csv")
        quoted = ['"{""routine"": 2, ""urgent"": 1}"', '"{""urgent"": 0.25, ""emergency"": 0.75}"', ""]
        source.write_text("text,urgency\n" + "".join(f"t{place},{cell}\n" for place, cell in enumerate(quoted)))
        if form == "csv by pandas":
            pd.DataFrame(rows).to_csv(source, index=False)
    elif form == "map":
        pairs = [None if cell is None else list(cell.items()) for cell in CELLS]
        source = pa.table({"urgency": pa.array(pairs, pa.map_(pa.string(), pa.float64()))})
    elif form == "pandas":
        source = pd.DataFrame(rows)
    elif form == "polars":
        source = pytest.importorskip("polars").DataFrame(rows)
    else:
        source = pa.Table.from_pylist(rows)
        if form == "parquet":
            pq.write_table(source, tmp_path / "table.parquet")
            source = tmp_path / "table.parquet"
    np.testing.assert_allclose(encoded(read_table(source).values("urgency")), SHARES)
    assert mh.infer_heads(source, "urgency")["urgency"].labels == tuple(sorted(LABELS))


def test_a_text_that_is_a_label_is_the_label() -> None:
    spec = mh.Multiclass(labels=['{"routine": 1}', "routine"])
    assert encoded(['{"routine": 1}', "routine"], spec).tolist() == [0, 1]
    assert isinstance(spec.encode(['{"routine": 2}'], "", ""), ShareTargets)


ERRORS: dict[str, tuple[Any, str]] = {
    "an unknown label": ({"urgnt": 1}, "label 'urgnt' (row 2) is not among 3 labels; did you mean 'urgent'?"),
    "a negative share": ({"urgent": -1}, "the share -1 of label 'urgent' (row 2) must be a finite number"),
    "not a number": ({"urgent": math.nan}, "the share nan of label 'urgent' (row 2) must be a finite number"),
    "infinite": ({"urgent": math.inf}, "the share inf of label 'urgent' (row 2) must be a finite number"),
    "too large": ({"urgent": 10**400}, "of label 'urgent' (row 2) must be a finite number"),
    "a text": ({"urgent": "much"}, "the share 'much' of label 'urgent' (row 2) must be a finite number"),
    "all zero": ({"urgent": 0, "routine": 0}, "all shares in row 2 are 0, so it has no label"),
    "a label twice": ({"urgent": 1, "urgent ": 0.5}, "is the second one of 'urgent'"),
    "in a text": ('{"urgent": -1}', "the share -1 of label 'urgent' (row 2)"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("kind", [mh.Multiclass, mh.Ordinal, mh.MultiLabel])
def test_errors_name_the_row_and_the_rule(case: str, kind: Any) -> None:
    cell, words = ERRORS[case]
    if kind is mh.MultiLabel:
        if case == "all zero":
            return  # none of the labels
        words = words.replace("a finite number", "a number from 0 to 1")
    with pytest.raises(mh.errors.LabelError) as caught:
        encoded(["urgent", cell], kind(labels=LABELS))
    assert words in str(caught.value), caught.value
    assert str(caught.value).startswith("notes.csv: head 'urgency': ")
    assert "\n" not in str(caught.value)


def test_a_probability_above_one_is_no_probability() -> None:
    with pytest.raises(
        mh.errors.LabelError, match=r"the share 2 of label 'urgent' \(row 1\) must be a number from 0 to 1"
    ):
        encoded([{"urgent": 2}], mh.MultiLabel(labels=LABELS))


@pytest.mark.parametrize(
    "spec", [mh.Regression(), mh.Count(), mh.Tokens(labels=["routine"])], ids=["regression", "count", "tokens"]
)
@pytest.mark.parametrize("cell", [{"routine": 1}, '{"routine": 1}'], ids=["mapping", "text"])
def test_other_heads_have_no_shares(spec: Any, cell: Any) -> None:
    from manyheads.heads.cells.spans import SplitText

    with pytest.raises(mh.errors.LabelError) as caught:
        spec.encode([cell], "other", "notes.csv", [SplitText([(0, 4)], "note")])
    assert "\n" not in str(caught.value)
    assert "row 1" in str(caught.value)


INFERRED: dict[str, tuple[list[Any], str, str]] = {
    "shares": ([{"a": 0.7, "b": 0.3}, {"b": 1.0}, None] * 2, "Multiclass(2 labels)", "labels with shares"),
    "rounded": ([{"a": 0.33, "b": 0.33, "c": 0.33}] * 3, "Multiclass(3 labels)", "labels with shares"),
    "votes": ([{"a": 2, "b": 1}, {"a": 0, "b": 1}] * 2, "Multiclass(2 labels)", "labels with shares"),
    "votes and labels": ([{"a": 2, "b": 1}, "c"] * 2, "Multiclass(3 labels)", "labels with shares"),
    "in texts": (['{"a": 2, "b": 1}', "c", "{'b': 3}"] * 2, "Multiclass(3 labels)", "labels with shares"),
    "probabilities": ([{"a": 0.7, "b": 0.9}, {"a": 0.1}] * 2, "MultiLabel(2 labels)", "labels with probabilities"),
    "numbers as labels": ([{1: 0.5, 2: 0.5}] * 2, "Multiclass(2 labels)", "labels with shares"),
}


@pytest.mark.parametrize("case", INFERRED)
def test_heads_are_inferred(case: str) -> None:
    cells, head, words = INFERRED[case]
    found = mh.infer_heads([{"level": cell} for cell in cells], "level")
    assert found.rules[0].startswith("'level': ")
    assert head in found.rules[0]
    assert words in found.rules[0]
    assert found["level"].encode(cells, "level", "table").labelled.any()
