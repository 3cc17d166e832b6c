"""Names of labels as training rows: the solution is that of a table with these rows, and used where it is better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import manyheads as mh
from manyheads.data.label_names import texts_of_labels
from tests.families import WORDS

Saved = Callable[[str], Path]
Row = dict[str, object]
LABELS = tuple(f"{WORDS[2 * place]}_{WORDS[2 * place + 1]}" for place in range(6))
NAMES = [label.replace("_", " ") for label in LABELS]


def drawn(per_label: int, seed: int = 0) -> list[Row]:
    """Return texts in which the words of a label's name stand among others."""
    draw = np.random.default_rng(seed)
    found: list[Row] = []
    for place, label in enumerate(LABELS):
        for _ in range(per_label):
            words = [*draw.choice(WORDS[12:], size=4), *draw.choice(WORDS[2 * place : 2 * place + 2], size=1)]
            found.append({"text": " ".join(draw.permutation(words)), "label": label})
    return found


def trained(
    saved: Saved, rows: list[Row], spec: mh.HeadSpec, method: mh.Frozen, **others: mh.HeadSpec
) -> tuple[mh.HeadedModel, mh.TrainResult]:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    for name, one in {"label": spec, **others}.items():
        model.add_head(name, one)
    return model, mh.train(model, rows, text="text", method=method, eval_fraction=0)


def weights(model: mh.HeadedModel) -> np.ndarray:
    return np.asarray(model.heads["label"].output.weight.detach().numpy())


def frozen(**settings: object) -> mh.Frozen:
    return mh.Frozen(cache=None, dtype="float32", **settings)  # type: ignore[arg-type]


@pytest.fixture
def spec() -> mh.Multiclass:
    return mh.Multiclass(LABELS, reads=mh.Hidden(layer=0, pool="mean"))


def test_the_solution_is_that_of_rows_with_the_names(saved: Saved, spec: mh.Multiclass) -> None:
    rows = drawn(3)
    model, result = trained(saved, rows, spec, frozen(l2=0.1))
    assert result.chosen["label"] == {"l2": 0.1, "label_names": 6.0}
    named = [{"text": name, "label": label} for name, label in zip(NAMES, LABELS, strict=True)]
    expected, plain = trained(saved, [*rows, *named], spec, frozen(l2=0.1, label_names=False))
    assert "label_names" not in plain.chosen["label"]
    asked = [str(row["text"]) for row in drawn(10, seed=1)]
    found, wanted = (mh.Predictor(one)(asked).logits["label"] for one in (model, expected))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert len(result.out_of_fold["label"].rows) == len(rows)
    without, with_names = (tried.loss for tried in result.search["label"])
    assert with_names < without
    sentence = "it was trained on the names of 6 labels too, which lowers the loss of held-out training rows"
    assert f"Head 'label': {sentence} from {without:.3g} to {with_names:.3g}." in result.notes


def test_they_make_few_rows_better(saved: Saved, spec: mh.Multiclass) -> None:
    asked = drawn(40, seed=1)
    accuracy = {}
    for used in (True, False):
        model, _ = trained(saved, drawn(6), spec, frozen(label_names=used))
        found = model.predict([str(row["text"]) for row in asked])
        accuracy[used] = np.mean([one["label"].label == row["label"] for one, row in zip(found, asked, strict=True)])
    assert accuracy[True] > accuracy[False] + 0.05


def test_names_that_do_not_help_change_nothing(saved: Saved) -> None:
    wrong = dict(zip(LABELS, [*LABELS[1:], LABELS[0]], strict=True))
    rows = [{**row, "label": wrong[str(row["label"])]} for row in drawn(5)]
    spec = mh.Multiclass(LABELS, reads=mh.Hidden(layer=0, pool="mean"))
    model, result = trained(saved, rows, spec, frozen())
    assert "label_names" not in result.chosen["label"]
    assert any("label_names" in tried.settings for tried in result.search["label"])
    plain, _ = trained(saved, rows, spec, frozen(label_names=False))
    np.testing.assert_array_equal(weights(model), weights(plain))


@pytest.mark.parametrize("per_label", [19, 20])
def test_they_are_tried_below_20_rows_per_label(saved: Saved, spec: mh.Multiclass, per_label: int) -> None:
    _, result = trained(saved, drawn(per_label), spec, frozen(l2=0.1))
    tried = {"label_names" in one.settings for one in result.search["label"]}
    assert tried == ({True, False} if per_label < 20 else {False})


def test_other_heads_do_not_see_them(saved: Saved, spec: mh.Multiclass) -> None:
    rows = [
        {**row, "size": float(len(str(row["text"]))), "topics": [row["label"]], "tags": ["O"] * 5} for row in drawn(3)
    ]
    rows[0]["tags"] = ["X", "O", "O", "O", "O"]
    size, tags = mh.Regression(reads=mh.Hidden(pool="mean")), mh.Tokens(["O", "X"])
    topics = mh.MultiLabel(LABELS, reads=mh.Hidden(layer=0, pool="mean"))
    others: dict[str, mh.HeadSpec] = {"size": size, "tags": tags, "topics": topics}
    _, result = trained(saved, rows, spec, frozen(l2=0.1), **others)
    assert result.chosen["label"]["label_names"] == 6
    assert {name: "label_names" in result.chosen[name] for name in others} == {
        "size": False,
        "tags": False,
        "topics": True,
    }
    assert sum("names of 6 labels" in note for note in result.notes) == 2


def test_a_long_name_is_cut_even_where_long_texts_are_errors(saved: Saved) -> None:
    labels = [" ".join(WORDS[:40]), WORDS[41]]
    rows = [{"text": f"{WORDS[place % 7]} {WORDS[41]}", "label": labels[place % 2]} for place in range(12)]
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("label", mh.Multiclass(labels))
    result = mh.train(model, rows, text="text", max_length=8, long_text="error", method=frozen(), eval_fraction=0)
    assert not any("cut" in note for note in result.notes)


def test_names_and_codes() -> None:
    named = mh.Multiclass(["card_arrival", "lostCard", "w2", "top-up/fee?"])
    assert texts_of_labels(named) == {0: "card arrival", 1: "lost Card", 3: "top up fee"}
    spoken = mh.Multiclass(["a", "b"], init="lm_head", label_words={"a": "very good", "b": ["bad", "poor"]})
    assert texts_of_labels(spoken) == {0: "very good", 1: "bad poor"}
    for labels in (["0", "1"], ["A1", "B2"], ["card arrival", "card_arrival"], [1, 2]):
        assert texts_of_labels(mh.Multiclass(labels)) == {}
    for spec in (mh.Ordinal(["low", "high"]), mh.Regression(), mh.Tokens(["O", "PER"])):
        assert texts_of_labels(spec) == {}
