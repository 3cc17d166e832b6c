"""Out-of-fold logits are those of the method trained without the fold, at the cost of one pass, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.data.labelled import Reading
from manyheads.validation.cross_fit import CrossFit, cross_fit
from tests.families import WORDS
from tests.laws.oracle import HEADS, RECORDS, changed, headed, rows_read, snapshot

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

ODD = {"odd": mh.Multiclass(["no", "yes"], reads="auto")}


def texts(count: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [f"{' '.join(WORDS[place] for place in draw.integers(0, len(WORDS), 5))} {row}" for row in range(count)]


def drawn(count: int, seed: int = 0, share: float = 0.5) -> list[dict[str, Any]]:
    """Return texts with labels that have nothing to do with them."""
    draw = np.random.default_rng(seed + 1)
    return [{"text": text, "odd": "yes" if draw.random() < share else "no"} for text in texts(count, seed)]


def fitted(model: mh.HeadedModel, rows: object, method: Any = None, folds: int = 3, seed: int = 0) -> CrossFit:
    return cross_fit(
        model.core, model.tokenizer, rows, method or mh.Frozen(), None, Reading("text"), folds=folds, seed=seed
    )


@pytest.fixture
def model(saved: Callable[[str], Path]) -> Callable[..., mh.HeadedModel]:
    return lambda specs=ODD, family="bert": headed(saved(family), specs)


KINDS = {name: HEADS[name] for name in ("urgency", "symptoms", "age", "found")} | {
    "again": mh.Multiclass(labels=["yes", "no"], reads=[mh.Hidden(), mh.Output("urgency")])
}


@pytest.mark.parametrize("specs", [ODD, KINDS], ids=["searching", "linear kinds"])
def test_every_fold_has_the_logits_of_a_training_without_it(
    model: Callable[..., mh.HeadedModel], specs: dict[str, Any]
) -> None:
    rows: Any = drawn(70) if specs is ODD else RECORDS
    found = fitted(model(specs), rows, folds=2)
    for fold in range(2):
        mine = {name: np.flatnonzero(predictions.part_of == fold) for name, predictions in found.predictions.items()}
        any_head = next(iter(mine))
        tested = found.prepared.train_rows[found.predictions[any_head].rows[mine[any_head]]].tolist()
        others = [row for number, row in enumerate(rows) if number not in tested]
        alone = model(specs)
        result = mh.train(alone, others, "text", mh.Frozen(), eval_data=[rows[row] for row in tested])
        for name, predictions in found.predictions.items():
            expected, own = result.predicted[name].logits, predictions.logits.take(mine[name]).values
            for one, other in zip(own, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
            assert predictions.decisions[fold] == alone.heads[name].decision


def test_texts_are_read_once_however_many_folds(model: Callable[..., mh.HeadedModel]) -> None:
    rows = drawn(48)
    one, folds = model(), model()
    with rows_read(one.backbone) as read_once:
        mh.train(one, rows, "text", mh.Frozen(cache=None))
    with rows_read(folds.backbone) as read:
        fitted(folds, rows, mh.Frozen(cache=None))
    assert sum(read) == sum(read_once) > 0
    fitted(folds, rows)
    with rows_read(folds.backbone) as read:
        fitted(folds, rows)
    assert read == []


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        (mh.Frozen(), False),
        (mh.Frozen(), True),
        (mh.Fork(top=1, epochs=1), True),
        (mh.LoRA(r=2, epochs=1), False),
        (mh.Full(epochs=1, lr=1e-3), True),
    ],
)
def test_the_model_is_as_before(model: Callable[..., mh.HeadedModel], method: Any, trained: bool) -> None:
    own = model({"odd": mh.Multiclass(["no", "yes"], reads=mh.Hidden()), "symptoms": mh.MultiLabel(["a", "b"])})
    rows: list[dict[str, Any]] = [
        {**row, "symptoms": ["a"] if place % 3 else ["b"]} for place, row in enumerate(drawn(24))
    ]
    if trained:
        mh.train(own, rows, "text")
        own.heads["symptoms"].decision = mh.Decision(thresholds=[0.3, 0.2])
    before, parameters = snapshot(own.core), dict(own.named_parameters())
    state = {name: (head.decision, head.trained, head.taps) for name, head in own.heads.items()}
    fitted(own, rows, method, folds=2)
    assert changed(own.core, before) == []
    assert all(parameter is parameters[name] for name, parameter in own.named_parameters())
    assert {name: (head.decision, head.trained, head.taps) for name, head in own.heads.items()} == state
    assert len(own.core.backbone.branches) == 0
    assert not any(module.training for module in own.modules())


def test_rows_with_equal_texts_are_in_one_fold(model: Callable[..., mh.HeadedModel]) -> None:
    """A text's label is drawn, so that only a duplicate in another fold could tell it."""
    once = drawn(80)
    twice = [*once, *[{**row, "text": f" {row['text'].upper()}"} for row in once]]
    found = fitted(model(), twice, folds=4)
    predictions = found.predictions["odd"]
    fold_of = np.empty(len(twice), dtype=int)
    fold_of[predictions.rows] = predictions.part_of
    assert (fold_of[:80] == fold_of[80:]).all()
    assert accuracy(found) < 0.62  # two standard errors above one half


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_that_are_drawn_are_predicted_no_better_than_the_majority(
    model: Callable[..., mh.HeadedModel], seed: int
) -> None:
    rows = drawn(200, seed, share=0.35)
    majority = np.mean([row["odd"] == "no" for row in rows])
    assert accuracy(fitted(model(), rows, folds=4, seed=seed)) <= majority + 0.034  # one standard error


def accuracy(found: CrossFit) -> float:
    predictions = found.predictions["odd"]
    targets = found.prepared.data.targets["odd"].values[predictions.rows]
    return float((predictions.logits.values.argmax(axis=1) == targets).mean())


@pytest.mark.parametrize(
    ("rows", "arguments", "words"),
    [
        (drawn(20), {"folds": 1}, ["folds", "at least 2", "1"]),
        (drawn(20), {"folds": True}, ["folds", "True"]),
        (drawn(20), {"folds": 21}, ["folds", "20", "21"]),
        ([{"text": text} for text in texts(20)], {}, ["'odd'", "column"]),
        ([{"text": text, "odd": None} for text in texts(20)], {}, ["'odd'", "missing"]),
        (drawn(20), {"seed": -1}, ["seed", "-1"]),
        (
            [{"text": text, "odd": "yes" if not row else "no"} for row, text in enumerate(texts(20))],
            {},
            ["fold", "'odd'"],
        ),
        (drawn(20), {"method": mh.Fork(best_by="odd")}, ["best_by", "Fork"]),
    ],
)
def test_a_wrong_argument_is_one_line(
    model: Callable[..., mh.HeadedModel], rows: object, arguments: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(mh.ManyheadsError) as error:
        fitted(model(), rows, **arguments)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


def test_a_label_with_fewer_rows_than_folds_is_noted(model: Callable[..., mh.HeadedModel]) -> None:
    rows = [*drawn(20), {"text": "some cough", "odd": "rare"}, {"text": "some fever", "odd": "rare"}]
    specs = {"odd": mh.Multiclass(["no", "yes", "rare"], reads=mh.Hidden())}
    (note,) = fitted(model(specs), rows, folds=4).notes
    assert "'odd'" in note
    assert "'rare'" in note
