"""Labels that are probably wrong: found by cleanlab on out-of-fold scores, written first, and trained on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.labelling.suspects import find_suspects
from tests.families import WORDS
from tests.laws.oracle import headed

Saved = Callable[[str], Path]
FLIPPED = [3, 17, 40]


def table(rows: int = 80) -> list[dict[str, Any]]:
    """Return texts that begin with their label's word, three of which have the other label."""
    draw = np.random.default_rng(0)
    found: list[dict[str, Any]] = []
    for row in range(rows):
        ill, seen = row % 2, row % 3 > 0
        others = " ".join(WORDS[place] for place in draw.integers(20, len(WORDS), 3))
        wrong = row in FLIPPED
        found.append(
            {
                "text": f"{('mild', 'severe')[ill]} {('cough', 'fever')[seen]} {others} {row}",
                "state": ("well", "ill")[ill ^ wrong],
                "signs": [("calm", "alarm")[ill ^ wrong], *["seen"] * seen],
                "age": float(row),
            }
        )
    return found


SPECS = {
    "state": mh.Multiclass(["well", "ill"], reads=mh.Lexical()),
    "signs": mh.MultiLabel(["calm", "alarm", "seen"], reads=mh.Lexical()),
    "age": mh.Regression(reads=mh.Hidden()),
}


@pytest.fixture(scope="module")
def model(saved: Saved) -> mh.HeadedModel:
    return headed(saved("bert"), SPECS)


@pytest.fixture(scope="module")
def issues(model: mh.HeadedModel) -> mh.LabelIssues:
    return mh.label_issues(model, table(), "text", method=mh.Frozen(cache=None, dtype="float32"), folds=3)


def test_flipped_labels_are_named_first_and_corrected(issues: mh.LabelIssues) -> None:
    rows, found = table(), [issue for issue in issues if issue.head == "state"]
    assert sorted(issue.row for issue in found[:3]) == FLIPPED
    for issue in found[:3]:
        assert (issue.given, issue.text) == (rows[issue.row]["state"], rows[issue.row]["text"])
        assert issue.suggested != issue.given
        assert issue.score < 0.5
    scores = [issue.score for issue in issues]
    assert scores == sorted(scores)


def test_several_labels_are_suspected_one_by_one(issues: mh.LabelIssues) -> None:
    first = {issue.row: issue for issue in issues if issue.head == "signs"}
    assert set(FLIPPED) <= set(list(first)[:6])
    issue = first[17]
    assert issue.given == ("calm", "seen")
    assert issue.suggested == ("alarm", "seen")
    assert {issue.head for issue in issues} == {"state", "signs"}  # heads that predict numbers are left out


def test_the_saved_table_has_all_rows_and_is_trained_on(
    model: mh.HeadedModel, issues: mh.LabelIssues, tmp_path: Path
) -> None:
    issues.save(tmp_path / "suspects.csv")
    found = read_table(tmp_path / "suspects.csv")
    suspected = list(dict.fromkeys(issue.row for issue in issues))
    order = [*suspected, *(row for row in range(80) if row not in suspected)]
    assert found.values("text") == [table()[row]["text"] for row in order]
    for head in ("state", "signs"):
        own = {issue.row: issue for issue in issues if issue.head == head}
        wanted = [own[row].suggested if row in own else None for row in order]
        written = ["|".join(label) if isinstance(label, tuple) else label for label in wanted]
        assert found.values(f"{head}_suggested") == [label or None for label in written]
        assert [score is None for score in found.values(f"{head}_given_score")] == [row not in own for row in order]
    result = mh.train(model, tmp_path / "suspects.csv", "text", heads=["state"])
    assert result.rows["state"]["train"] == 72
    with pytest.raises(mh.errors.OutputExistsError):
        issues.save(tmp_path / "suspects.csv")


def test_a_table_with_such_columns_is_one_line(issues: mh.LabelIssues) -> None:
    again = mh.LabelIssues(list(issues), read_table(issues.to_arrow()), ["state"], [])
    with pytest.raises(mh.errors.DataError, match="'state_suggested'"):
        again.to_arrow()


def test_a_label_without_rows_is_never_suggested_wrongly() -> None:
    """cleanlab sees a label that no row has."""
    spec = mh.Multiclass(["a", "b", "c"])
    scores = np.array([[0.98, 0.01, 0.01]] * 6 + [[0.01, 0.98, 0.01]] * 6)
    targets = np.array([0] * 5 + [1] + [1] * 5 + [0])
    assert [(found.row, found.suggested) for found in find_suspects(spec, targets, scores)] == [(5, (0,)), (11, (1,))]


@pytest.mark.parametrize(
    ("heads", "words"),
    [
        (["age"], ["'age'", "Multiclass"]),
        (["state", "age"], ["'age'"]),
        (["staet"], ["staet", "state"]),
        ([], ["none"]),
    ],
)
def test_heads_without_labels_are_one_line(model: mh.HeadedModel, heads: list[str], words: list[str]) -> None:
    with pytest.raises(mh.errors.HeadError) as error:
        mh.label_issues(model, table(10), "text", heads)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


def test_without_cleanlab_the_extra_is_named(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(mh.errors.MissingExtraError, match=r"manyheads\[evaluate\]"):
        mh.label_issues(model, table(10), "text")
