"""Thresholds of heads with several labels per text: against scikit-learn's F1, on few rows, and kept with the head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

import manyheads as mh
from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.thresholds import PSEUDO_POSITIVES, best_thresholds, fit_thresholds
from tests.families import WORDS

Saved = Callable[[str], Path]
Table = list[dict[str, object]]
GRID = np.arange(1, 100) / 100
LABELS = [*"abcde"]


def scores_and_labels(rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities that are right on average, and labels drawn by them; some labels are rare."""
    draw = np.random.default_rng(seed)
    scores = draw.beta(0.4, [2, 4, 8, 16, 32], size=(rows, len(LABELS)))
    return scores, draw.random(scores.shape) < scores


def table(rows: int = 240) -> Table:
    """Return rows whose labels depend on one word each, which is not always there."""
    draw = np.random.default_rng(2)
    found: Table = []
    for _ in range(rows):
        words = draw.choice(WORDS[:60], size=6, replace=False)
        labels = [label for label, word in zip(LABELS, WORDS, strict=False) if word in words and draw.random() < 0.6]
        found.append({"text": " ".join(words), "tags": labels})
    return found


def trained(
    saved: Saved,
    rows: Table,
    method: object = mh.Frozen(l2=0.01),
    **settings: object,
) -> tuple[mh.HeadedModel, mh.TrainResult]:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("tags", mh.MultiLabel(labels=LABELS, reads=[mh.Hidden(pool="mean"), mh.Lexical()]))
    return model, mh.train(model, rows, text="text", method=method, **settings)


# --- against scikit-learn --------------------------------------------------------------------------


def test_the_threshold_of_one_label_has_the_largest_f1_of_scikit_learn() -> None:
    scores, labels = scores_and_labels()
    for column in range(len(LABELS)):
        truth, found = labels[:, column], scores[:, column]
        f1 = [f1_score(truth, found >= threshold, zero_division=0) for threshold in GRID]
        (chosen,) = best_thresholds(found[:, None], truth[:, None])
        assert f1[round(chosen * 100) - 1] == max(f1)


def test_few_positive_rows_are_joined_by_those_of_all_labels() -> None:
    """The counts of a label, and those of all labels in the weight of ten positive rows, written out."""
    scores, labels = scores_and_labels()
    chosen = best_thresholds(scores, labels)
    share = PSEUDO_POSITIVES / labels.sum()
    for column in range(len(LABELS)):
        f1 = []
        for threshold in GRID:
            hits = scores >= threshold
            true = (hits & labels)[:, column].sum() + share * (hits & labels).sum()
            total = hits[:, column].sum() + labels[:, column].sum() + share * (hits.sum() + labels.sum())
            f1.append(2 * true / total)
        assert f1[round(chosen[column] * 100) - 1] == pytest.approx(max(f1), rel=1e-12)


def test_among_equal_thresholds_the_middle_one_is_taken() -> None:
    scores, labels = np.repeat([[0.9], [0.1]], 20, axis=0), np.repeat([[True], [False]], 20, axis=0)
    assert best_thresholds(scores, labels).tolist() == [0.5]


@pytest.mark.parametrize("positives", [19, 20])
def test_with_fewer_than_twenty_positive_cells_one_half_is_kept(positives: int) -> None:
    logits = np.where(np.arange(100) < positives, -1.0, -3.0)[:, None].astype(np.float32)
    targets = (np.arange(100) < positives)[:, None].astype(np.float32)
    found = fit_thresholds(mh.MultiLabel(labels=["a"]), HeldOut(logits, targets, [""] * 100), mh.Decision())
    assert (found == mh.Decision()) == (positives < 20)


def test_rows_without_logits_or_labels_do_not_count() -> None:
    scores, labels = scores_and_labels()
    spec, texts = mh.MultiLabel(labels=LABELS), [""] * (len(labels) + 10)
    logits = np.log(scores / (1 - scores))
    expected = fit_thresholds(spec, HeldOut(logits, labels.astype(np.float32), texts), mh.Decision())
    further_logits = np.concatenate([logits, np.full((5, 5), np.nan), np.ones((5, 5))])
    further_targets = np.concatenate([labels, np.ones((5, 5)), np.full((5, 5), np.nan)]).astype(np.float32)
    assert fit_thresholds(spec, HeldOut(further_logits, further_targets, texts).known, mh.Decision()) == expected


def test_thresholds_are_of_calibrated_scores() -> None:
    scores, labels = scores_and_labels()
    spec, targets, logits = mh.MultiLabel(labels=LABELS), labels.astype(np.float32), 3 * np.log(scores / (1 - scores))
    found = fit_thresholds(spec, HeldOut(logits, targets, [""] * len(labels)), mh.Decision(temperature=3))
    expected = best_thresholds(scores, labels).tolist()
    assert found == mh.Decision(temperature=3, thresholds=expected)


# --- with a model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [mh.Frozen(l2=0.01), mh.Fork(top=1, epochs=1, lr=1e-3)], ids=["frozen", "fork"])
def test_training_fits_thresholds_and_tells_what_one_half_gives(saved: Saved, method: object) -> None:
    rows, evaluation = table(), table(400)[240:]
    model, result = trained(saved, rows, method, eval_data=evaluation)
    head = model.heads["tags"]
    assert head.decision.thresholds is not None
    scores = model.predict([str(row["text"]) for row in evaluation]).scores["tags"]
    truth = np.array([[label in row["tags"] for label in LABELS] for row in evaluation])  # type: ignore[operator]
    for average in ("micro", "macro"):
        decided = f1_score(truth, scores >= np.float32(head.decision.thresholds), average=average)
        at_half = f1_score(truth, scores >= 0.5, average=average)
        assert result.metrics["tags"][f"{average}_f1"] == pytest.approx(decided)
        assert result.metrics["tags"][f"{average}_f1_at_half"] == pytest.approx(at_half)
    assert result.metrics["tags"]["macro_f1"] > result.metrics["tags"]["macro_f1_at_half"]


def test_evaluation_labels_do_not_change_thresholds(saved: Saved) -> None:
    rows, evaluation = table(), table(300)[240:]
    wrong = [{**row, "tags": LABELS} for row in evaluation]
    decisions = [trained(saved, rows, eval_data=each)[0].heads["tags"].decision for each in (evaluation, wrong)]
    assert decisions[0] == decisions[1]


def test_a_decision_changes_answers_and_no_logits_and_is_kept(saved: Saved, tmp_path: Path) -> None:
    rows = table()
    model, _ = trained(saved, rows, eval_fraction=0)
    texts = [str(row["text"]) for row in rows[:50]]
    before = model.predict(texts)
    model.heads["tags"].decision = mh.Decision(thresholds=[0.0, 1.0, 1.0, 1.0, 1.0])
    after = model.predict(texts)
    np.testing.assert_array_equal(before.logits["tags"], after.logits["tags"])
    assert {row["tags"].labels for row in after} == {("a",)}
    assert after.columns()["tags_labels"] == [["a"]] * 50
    assert after[3:5][0]["tags"].labels == ("a",)
    model.save_pretrained(tmp_path / "model")
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "model")
    assert loaded.heads["tags"].decision == model.heads["tags"].decision
    np.testing.assert_array_equal(loaded.predict(texts).logits["tags"], after.logits["tags"])


def test_a_new_label_gets_the_default_threshold(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    head = model.add_head("tags", mh.MultiLabel(labels=["a", "b"]))
    head.decision = mh.Decision(thresholds=[0.2, 0.3])
    head.add_label("c")
    assert head.decision.thresholds == (0.2, 0.3, 0.5)


@pytest.mark.parametrize("thresholds", ["0.5", [0.5, "0.5"], [True], [1.5], [-0.1], [float("nan")], 0.5])
def test_bad_thresholds(thresholds: object) -> None:
    with pytest.raises(mh.errors.HeadError, match="Decision: thresholds must be a list of numbers from 0 to 1"):
        mh.Decision(thresholds=thresholds)  # type: ignore[arg-type]


def test_decisions_that_do_not_fit_a_head(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    tags = model.add_head("tags", mh.MultiLabel(labels=["a", "b"]))
    one = model.add_head("one", mh.Multiclass(labels=["a", "b"]))
    with pytest.raises(mh.errors.HeadError, match="one number for each of 2 labels, got 3"):
        tags.decision = mh.Decision(thresholds=[0.5, 0.5, 0.5])
    with pytest.raises(mh.errors.HeadError, match="Multiclass: has no thresholds"):
        one.decision = mh.Decision(thresholds=[0.5, 0.5])
    with pytest.raises(mh.errors.HeadError, match="must be a Decision"):
        tags.decision = [0.5, 0.5]  # type: ignore[assignment]
