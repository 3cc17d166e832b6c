"""Tuned weights are mixed with those before tuning: exact at both ends, linear between, chosen on held-out rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import manyheads as mh
from manyheads.heads import RowTargets
from manyheads.heads.logits import Logits, RowLogits
from manyheads.training.tuning.held_out_rows import holding_out
from manyheads.training.tuning.weight_mixture import SHARES, WeightMixture, losses_of_shares
from tests.families import BY_NAME, tokenizer_for
from tests.laws.oracle import RECORDS, snapshot

METHODS = {
    "full": mh.Full(epochs=1, lr=1e-3),
    "fork": mh.Fork(top=1, epochs=1, lr=1e-3, frozen_share=0, cache=None),
    "lora": mh.LoRA(epochs=1, lr=1e-2, targets=["query"]),
}
ROWS = [{**record, "text": f"{record['text']} {row}"} for row, record in enumerate(RECORDS * 4)]

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")


def tuned(method: Any, rows: list[dict[str, Any]] = ROWS) -> tuple[mh.HeadedModel, mh.TrainResult]:
    torch.manual_seed(0)
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"]))
    model.add_head("age", mh.Regression(reads=mh.Hidden(pool="mean")))
    return model, mh.train(model, rows, "text", method=method, eval_fraction=0.0)


def weights(model: mh.HeadedModel) -> dict[str, Tensor]:
    return snapshot(model.core)


@pytest.mark.parametrize("name", METHODS)
def test_a_fixed_share_is_the_mean_of_the_weights_before_and_after(name: str) -> None:
    ends = [weights(tuned(replace(METHODS[name], tuned_share=share))[0]) for share in (0, 1)]
    mixed, result = tuned(replace(METHODS[name], tuned_share=0.25))
    assert result.chosen["urgency"]["tuned_share"] == 0.25
    for key, value in weights(mixed).items():
        torch.testing.assert_close(value, 0.75 * ends[0][key] + 0.25 * ends[1][key], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_share_0_predicts_as_the_heads_solved_before(name: str) -> None:
    model, _ = tuned(replace(METHODS[name], tuned_share=0))
    solved, _ = tuned(mh.Frozen(cache=None, dtype="float32"))
    texts = [row["text"] for row in ROWS]
    found, expected = (one.predict(texts) for one in (model, solved))
    np.testing.assert_allclose(found.scores["urgency"], expected.scores["urgency"], atol=1e-5)
    np.testing.assert_allclose(found.values["age"], expected.values["age"], rtol=1e-4)


def test_the_share_is_chosen_on_rows_that_were_not_trained_on() -> None:
    rows = [{"text": f"{row['text']} {copy}", "urgency": row["urgency"], "age": row["age"]}
            for copy in range(10) for row in ROWS]  # fmt: skip
    _, result = tuned(replace(METHODS["full"], lr=1e-4), rows)
    assert result.chosen["urgency"]["tuned_share"] in SHARES
    assert any(f"{len(rows) // 10} held-out training rows" in note for note in result.notes)


# --- held-out rows ---------------------------------------------------------------------------------


def data_of(count: int, texts: list[str] | None = None) -> Any:
    from manyheads.training.dataset import TrainingData

    labels = np.arange(count) % 3
    return TrainingData(
        tokenized=None,  # type: ignore[arg-type]
        texts=texts or [f"text {row}" for row in range(count + 5)],
        targets={"kind": RowTargets(np.append(labels, [0] * 5))},
        train=np.arange(count),
        evaluate=np.arange(count, count + 5),
        seed=0,
        digest="",
    )


def test_few_rows_are_all_trained_on() -> None:
    assert len(holding_out(data_of(199), 0.1).held_out) == 0
    assert len(holding_out(data_of(200), 0.1).held_out) == 20


def test_another_share_can_be_held_out() -> None:
    assert len(holding_out(data_of(100), 0.3).held_out) == 30
    assert len(holding_out(data_of(1000), 0.0).held_out) == 0


def test_at_most_500_rows_are_held_out() -> None:
    assert len(holding_out(data_of(20_000), 0.1).held_out) == 500


def test_held_out_rows_share_no_text_with_training_rows_and_leave_each_class_a_row() -> None:
    data = data_of(400, [f"text {row // 2}" for row in range(405)])
    data.targets["kind"].values[7] = 4  # a class with one row
    divided = holding_out(data, 0.1)
    assert sorted([*divided.train, *divided.held_out]) == list(range(400))
    texts = [{data.texts[row] for row in rows} for rows in (divided.train, divided.held_out)]
    assert texts[0].isdisjoint(texts[1])
    assert 7 in divided.train


def test_the_loss_of_each_share_is_that_of_its_weights_with_the_best_temperature() -> None:
    """The logit of one class is 0 before tuning and 4 after it, and that class is right in two thirds of the rows: a
    temperature makes it the same for every share but 0.
    """
    data = holding_out(data_of(300), 0.1)
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    head = model.add_head("kind", mh.Multiclass(["a", "b", "c"], loss_weight=2.0))
    parameter = nn.Parameter(torch.zeros(1))
    data.targets["kind"].values[data.held_out] = np.where(np.arange(len(data.held_out)) % 3 < 2, 0, 1)

    def evaluate(rows: np.ndarray) -> dict[str, Logits]:
        assert rows is data.held_out
        return {"kind": RowLogits(np.float32([[float(parameter.detach()), 0, 0]] * len(rows)))}

    mixture = WeightMixture([parameter])
    with torch.no_grad():
        parameter.fill_(4.0)
    losses = losses_of_shares(mixture, evaluate, {"kind": head}, data)
    rights = float((data.targets["kind"].values[data.held_out] == 0).mean())
    best = np.log(2 * rights / (1 - rights))
    least = np.log(np.exp(best) + 2) - rights * best
    assert losses[0.0] == pytest.approx(2 * np.log(3))
    assert [losses[share] for share in SHARES[1:]] == pytest.approx([2 * least] * 4, rel=1e-2)


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"tuned_share": 1.5}, "tuned_share must be at most 1"),
        ({"tuned_share": -0.1}, "tuned_share must be a finite number of at least 0"),
        ({"tuned_share": "x"}, "tuned_share must be a finite number of at least 0"),
        ({"tuned_share": 0.5, "start": "random"}, "below 1 only with start='frozen'"),
        ({"held_out": 1}, "held_out must be a share below 1, got 1"),
        ({"held_out": -0.1}, "held_out must be a finite number of at least 0"),
    ],
)
def test_an_impossible_share_is_rejected(settings: dict[str, Any], reported: str) -> None:
    with pytest.raises(mh.errors.MethodError, match=reported):
        mh.Full(**settings)
