"""L16: labels are names with an order and a type, both from the spec, both kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import manyheads as mh
from tests.families import BY_NAME, WORDS, tokenizer_for

# Two texts that any backbone tells apart: a linear head on frozen features cannot miss.
CALM, PAIN = "child eats and drinks well", "severe chest pain since two hours"


def fresh_model(head: str, spec: object, family: str = "bert") -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    model.add_head(head, spec)
    return model


def table(head: str, calm: object, pain: object, rows: int = 40) -> list[dict[str, object]]:
    """Rows of the two texts in turn, the first one calm, each with a word that makes it different."""
    return [{"text": f"{WORDS[row]} {(CALM, PAIN)[row % 2]}", head: (calm, pain)[row % 2]} for row in range(rows)]


def trained(spec: object, data: object, head: str = "urgency", family: str = "bert") -> mh.HeadedModel:
    model = fresh_model(head, spec, family)
    mh.train(model, data, text="text", method=mh.Frozen(), eval_fraction=0)
    return model


def reloaded(model: mh.HeadedModel, folder: Path) -> mh.HeadedModel:
    model.save_pretrained(folder)
    return mh.HeadedModel.from_pretrained(folder)


def assert_same_label(found: object, expected: object) -> None:
    assert (type(found), found) == (type(expected), expected)


# --- order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [mh.Multiclass, mh.Ordinal])
@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
@pytest.mark.parametrize("order", [["urgent", "routine"], ["routine", "urgent"], ["zzz", "urgent", "aaa", "routine"]])
def test_l16_order_comes_from_the_spec_and_survives_reload(
    tmp_path: Path, kind: Callable[..., object], family: str, order: list[str]
) -> None:
    model = trained(kind(labels=order), table("urgency", "routine", "urgent"), family=family)
    for holder in (model, reloaded(model, tmp_path / "saved")):
        assert list(holder.heads["urgency"].spec.labels) == order
        predictions = holder.predict([CALM, PAIN])
        assert [row["urgency"].label for row in predictions] == ["routine", "urgent"]
        assert [order[column] for column in predictions.scores["urgency"].argmax(axis=1)] == [
            "routine",
            "urgent",
        ]
        for row, scores in zip(predictions, predictions.scores["urgency"], strict=True):
            assert list(row["urgency"].scores) == order
            assert list(row["urgency"].scores.values()) == scores.tolist()


def test_l16_multilabel_columns_follow_the_spec(tmp_path: Path) -> None:
    order = ["pain", "never", "drinks", "eats"]
    data = table("topics", ["eats", "drinks"], ["pain"])
    model = trained(mh.MultiLabel(labels=order), data, head="topics")
    for holder in (model, reloaded(model, tmp_path / "saved")):
        predictions = holder.predict([CALM, PAIN])
        assert (predictions.scores["topics"] > 0.5).tolist() == [
            [False, False, True, True],
            [True, False, False, False],
        ]
        assert [row["topics"].labels for row in predictions] == [("drinks", "eats"), ("pain",)]


def test_l16_the_order_of_the_rows_changes_nothing() -> None:
    data = table("urgency", "routine", "urgent")
    spec = mh.Multiclass(labels=["routine", "urgent"])
    forward, backward = trained(spec, data), trained(spec, data[::-1])
    for model in (forward, backward):
        assert [row["urgency"].label for row in model.predict([CALM, PAIN])] == ["routine", "urgent"]


# --- unseen labels --------------------------------------------------------------------------------

UNSEEN = {
    "multiclass": (mh.Multiclass, ["routine", "urgent"], "urgnt", "'urgent'"),
    "multiclass, in capitals": (mh.Multiclass, ["routine", "urgent"], "Urgent", "'urgent'"),
    "multilabel, a list": (mh.MultiLabel, ["routine", "urgent"], ["routine", "urgnt"], "'urgent'"),
    "multilabel, bars": (mh.MultiLabel, ["routine", "urgent"], "routine|urgnt", "'urgent'"),
    "integers": (mh.Multiclass, [100, 2000], 2001, "2000"),
    "ordinal": (mh.Ordinal, ["routine", "urgent"], "urgnt", "'urgent'"),
}


@pytest.mark.parametrize(("kind", "labels", "cell", "closest"), UNSEEN.values(), ids=UNSEEN)
def test_l16_an_unseen_label_names_head_row_and_the_closest_label(
    kind: Callable[..., object], labels: Sequence[object], cell: object, closest: str
) -> None:
    model = fresh_model("urgency", kind(labels=labels))
    good = table("urgency", labels[0], labels[1])
    bad = [dict(row) for row in good]
    bad[6]["urgency"] = cell
    with pytest.raises(mh.errors.LabelError) as caught:
        mh.train(model, bad, text="text", eval_data=good)
    message = str(caught.value)
    assert "'urgency'" in message
    assert "row 7" in message
    assert f"did you mean {closest}?" in message
    assert "\n" not in message
    assert not model.heads["urgency"].trained


@pytest.mark.parametrize(("kind", "labels", "cell", "closest"), UNSEEN.values(), ids=UNSEEN)
def test_l16_an_unseen_label_of_an_evaluation_row_is_named_and_counts_as_wrong(
    kind: Callable[..., object], labels: Sequence[object], cell: object, closest: str
) -> None:
    model = fresh_model("urgency", kind(labels=labels))
    good = table("urgency", labels[0], labels[1])
    bad = [dict(row) for row in good]
    bad[6]["urgency"] = cell
    if kind is mh.Ordinal:  # its rank is unknown too
        with pytest.raises(mh.errors.LabelError, match="row 7"):
            mh.train(model, good, text="text", eval_data=bad)
        return
    result = mh.train(model, good, text="text", eval_data=bad)
    note = next(note for note in result.notes if "does not have" in note)
    assert "'urgency'" in note
    assert f"did you mean {closest}?" in note
    metric = "accuracy" if kind is mh.Multiclass else "exact_match"
    assert result.metrics["urgency"]["rows"] == len(bad)
    assert result.metrics["urgency"][metric] == pytest.approx(1 - 1 / len(bad))


# --- types ----------------------------------------------------------------------------------------

TYPED = {
    "integers": ([0, 1], 0, 1),
    "integers, reversed": ([1, 0], 0, 1),
    "large integers": ([1001, 2002, 3003], 2002, 1001),
    "booleans": ([False, True], False, True),
    "strings of digits": (["0", "1"], "0", "1"),
    "strings of floats": (["1.0", "2.50"], "1.0", "2.50"),
    "floats": ([0.5, 1.5], 0.5, 1.5),
    "words that look like something else": (["None", "nan", "true"], "None", "true"),
    "mixed": ([0, "other"], 0, "other"),
}


@pytest.mark.parametrize(("labels", "calm", "pain"), TYPED.values(), ids=TYPED)
def test_l16_labels_keep_their_type(tmp_path: Path, labels: list[object], calm: object, pain: object) -> None:
    model = trained(mh.Multiclass(labels=labels), table("urgency", calm, pain))
    for holder in (model, reloaded(model, tmp_path / "saved")):
        for found, expected in zip(holder.heads["urgency"].spec.labels, labels, strict=True):
            assert_same_label(found, expected)
        rows = holder.predict([CALM, PAIN])
        assert_same_label(rows[0]["urgency"].label, calm)
        assert_same_label(rows[1]["urgency"].label, pain)
        for found, expected in zip(rows[0]["urgency"].scores, labels, strict=True):
            assert_same_label(found, expected)


def test_l16_multilabel_labels_keep_their_type(tmp_path: Path) -> None:
    model = trained(mh.MultiLabel(labels=[7, 8, 9]), table("codes", [7, 9], []), head="codes")
    for holder in (model, reloaded(model, tmp_path / "saved")):
        (calm, pain) = (row["codes"].labels for row in holder.predict([CALM, PAIN]))
        assert calm == (7, 9)
        assert all(type(label) is int for label in calm)
        assert pain == ()


@pytest.mark.parametrize(
    "values",
    [np.array([0, 1]), pd.Series([0, 1]).to_numpy(), (np.int64(0), np.int32(1))],
    ids=["numpy", "pandas", "scalars"],
)
def test_l16_numpy_labels_become_plain_integers(tmp_path: Path, values: Sequence[object]) -> None:
    model = trained(mh.Multiclass(labels=values), table("urgency", np.int64(0), np.int64(1)))
    for holder in (model, reloaded(model, tmp_path / "saved")):
        assert [type(label) for label in holder.heads["urgency"].spec.labels] == [int, int]
        assert_same_label(holder.predict([PAIN])[0]["urgency"].label, 1)


def test_l16_a_pandas_column_of_integers_with_gaps_still_means_integers(tmp_path: Path) -> None:
    frame = pd.DataFrame(table("urgency", 0, 1))
    frame.loc[[2, 3], "urgency"] = np.nan  # pandas makes the column float: 0.0, 1.0, NaN
    assert frame["urgency"].dtype == float
    spec = mh.infer_heads(frame, ["urgency"])["urgency"]
    assert isinstance(spec, mh.Multiclass)
    model = reloaded(trained(spec, frame), tmp_path / "saved")
    assert_same_label(model.predict([PAIN])[0]["urgency"].label, 1)


def test_l16_a_csv_keeps_its_strings(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    pd.DataFrame(table("flag", "0", "1") + table("flag", "007", "1")).to_csv(path, index=False)
    spec = mh.infer_heads(path, ["flag"])["flag"]
    assert isinstance(spec, mh.Multiclass)
    assert sorted(spec.labels) == ["0", "007", "1"]
    assert all(type(label) is str for label in spec.labels)
    model = reloaded(trained(spec, path, head="flag"), tmp_path / "saved")
    assert_same_label(model.predict([PAIN])[0]["flag"].label, "1")


@pytest.mark.parametrize("labels", [["0", "1"], [0, 1], [False, True]], ids=["strings", "integers", "booleans"])
def test_l16_infer_heads_keeps_the_types_of_a_table(labels: list[object]) -> None:
    spec = mh.infer_heads(table("flag", *labels), ["flag"])["flag"]
    assert isinstance(spec, mh.Multiclass)
    for found, expected in zip(spec.labels, labels, strict=True):
        assert_same_label(found, expected)


def test_l16_infer_heads_does_not_depend_on_the_order_of_the_rows() -> None:
    data = table("urgency", "urgent", "routine") + table("urgency", "emergency", "routine")
    forward, backward = (mh.infer_heads(rows, ["urgency"])["urgency"] for rows in (data, data[::-1]))
    assert forward == backward


def test_l16_infer_heads_names_a_column_that_is_not_there() -> None:
    with pytest.raises(mh.errors.MissingColumnError, match="did you mean 'urgency'"):
        mh.infer_heads(table("urgency", "a", "b"), ["urgncy"])


@pytest.mark.parametrize(
    "labels", [["a", "a"], [0, False], [1, 1.0], ["a", ""], ["a", None], ["a"], "ab", [1.0, float("inf")]]
)
def test_l16_labels_that_cannot_be_told_apart_or_kept_are_rejected(labels: object) -> None:
    with pytest.raises(mh.errors.HeadError):
        mh.Multiclass(labels=labels)
