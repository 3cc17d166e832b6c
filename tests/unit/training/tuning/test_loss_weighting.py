"""Learned weighting: Kendall, Gal and Cipolla's formula, its gradients by hand, and heads without labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import manyheads as mh
from manyheads.core.output import HeadedOutput
from manyheads.training.tuning.loss_weighting import LearnedWeighting, Weighting
from manyheads.training.tuning.selection import Selection
from tests.families import BY_NAME, tokenizer_for
from tests.laws.oracle import RECORDS, padded

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

SPECS: dict[str, Any] = {
    "urgency": mh.Multiclass(["routine", "urgent", "emergency"]),
    "symptoms": mh.MultiLabel(["pain", "fever", "cough"]),
    "age": mh.Regression(),
}
# Kendall et al. (2018): squared error counts by 1 / (2 variance) (equation 5), a likelihood by 1 / variance (10).
FACTORS = {"urgency": 1.0, "symptoms": 1.0, "age": 0.5}


def headed() -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer_for(BY_NAME["gpt2"]))
    for name, spec in SPECS.items():
        model.add_head(name, spec)
    return model


def weighting(deviations: dict[str, float]) -> LearnedWeighting:
    """Return a weighting that has learned these standard deviations."""
    made = LearnedWeighting(headed().heads, torch.device("cpu"))
    with torch.no_grad():
        for parameter, deviation in zip(made.log_variances, deviations.values(), strict=True):
            parameter.fill_(math.log(deviation**2))
    return made


def output(losses: dict[str, float], counts: dict[str, int]) -> HeadedOutput:
    leaves = {name: torch.tensor(loss, requires_grad=counts[name] > 0) for name, loss in losses.items()}
    return HeadedOutput(losses=leaves, counts=counts)


DEVIATIONS = {"urgency": 0.7, "symptoms": 1.0, "age": 3.0}
LOSSES = {"urgency": 1.1, "symptoms": 0.6, "age": 20.0}
SOME = dict.fromkeys(SPECS, 4)


def test_it_begins_with_the_losses_as_likelihoods_count_them() -> None:
    made = LearnedWeighting(headed().heads, torch.device("cpu"))
    found = made(output(LOSSES, SOME)).losses
    assert {name: float(loss.detach()) for name, loss in found.items()} == pytest.approx(
        {name: FACTORS[name] * loss for name, loss in LOSSES.items()}
    )
    assert made.weights() == FACTORS


def test_it_is_the_papers_formula() -> None:
    found = weighting(DEVIATIONS)(output(LOSSES, SOME)).losses
    for name, loss in LOSSES.items():
        expected = FACTORS[name] / DEVIATIONS[name] ** 2 * loss + math.log(DEVIATIONS[name])
        assert float(found[name].detach()) == pytest.approx(expected, rel=1e-6)


def test_for_squared_error_it_is_the_likelihood_of_a_gaussian() -> None:
    values, targets = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([0.0, 0.5, 1.0])
    loss = float(((values - targets) ** 2).mean())
    found = float(weighting(DEVIATIONS)(output({**LOSSES, "age": loss}, SOME)).losses["age"].detach())
    density = torch.distributions.Normal(values, DEVIATIONS["age"]).log_prob(targets)
    assert found == pytest.approx(-float(density.mean()) - 0.5 * math.log(2 * math.pi), rel=1e-6)


def test_its_gradients_are_those_by_hand() -> None:
    made, given = weighting(DEVIATIONS), output(LOSSES, SOME)
    torch.stack(list(made(given).losses.values())).sum().backward()
    for parameter, name in zip(made.log_variances, SPECS, strict=True):
        weight = FACTORS[name] / DEVIATIONS[name] ** 2
        assert float(given.losses[name].grad) == pytest.approx(weight, rel=1e-6)
        assert float(parameter.grad) == pytest.approx(0.5 - weight * LOSSES[name], rel=1e-5)


def test_variances_come_to_rest_where_they_balance_the_losses() -> None:
    """The minimum over a variance: twice the factor times the loss."""
    made = weighting(DEVIATIONS)
    descent = torch.optim.SGD(made.parameters(), lr=0.2)
    for _ in range(300):
        descent.zero_grad()
        torch.stack(list(made(output(LOSSES, SOME)).losses.values())).sum().backward()
        descent.step()
    for name, weight in made.weights().items():
        assert weight == pytest.approx(1 / (2 * LOSSES[name]), rel=1e-3)


def test_a_head_without_a_label_gets_no_gradient() -> None:
    made, given = weighting(DEVIATIONS), output({**LOSSES, "age": 0.0}, {**SOME, "age": 0})
    found = made(given).losses
    assert not found["age"].requires_grad
    assert float(found["age"]) == 0.0
    torch.stack(list(found.values())).sum().backward()
    assert [parameter.grad is None for parameter in made.log_variances] == [False, False, True]


def test_what_has_no_losses_passes() -> None:
    plain = HeadedOutput(logits={"age": torch.zeros(2, 1)})
    assert weighting(DEVIATIONS)(plain) is plain
    some = output(LOSSES, SOME)
    assert Weighting()(some) is some
    assert Weighting().weights() == {}


def test_the_rest_of_the_output_is_as_it_was() -> None:
    given = output(LOSSES, SOME)
    given.logits, given.weights = {"age": torch.ones(4, 1)}, {"age": torch.tensor(4.0)}
    found = weighting(DEVIATIONS)(given)
    assert found.logits is given.logits
    assert found.weights is given.weights
    assert found.counts == SOME
    assert {name: float(loss.detach()) for name, loss in given.losses.items()} == pytest.approx(LOSSES)


# --- in training ----------------------------------------------------------------------------------

DATA = [{**record, "age": 10.0 * (row % 5)} for row, record in enumerate(RECORDS)]
METHODS = {"full": mh.Full, "fork": mh.Fork}


def trained(method: str, weighting: str, **settings: Any) -> tuple[mh.HeadedModel, Any]:
    model = headed()
    steps = METHODS[method](epochs=4, batch_rows=8, head_lr=0.05, start="random", weighting=weighting, **settings)
    return model, mh.train(model, DATA, "text", steps, eval_fraction=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_result_reports_the_weights_learned(method: str) -> None:
    model, result = trained(method, "learned")
    weights = {name: result.chosen[name]["learned_weight"] for name in SPECS}
    # Large squared errors count for less and less; what it began with is no news.
    assert weights["age"] < 0.4
    assert all(weight != FACTORS[name] for name, weight in weights.items())
    assert model.heads["age"].summary["settings"]["learned_weight"] == weights["age"]
    assert model.heads["age"].summary["weighting"] == "learned"
    assert not [name for name, _ in model.named_parameters() if "variance" in name]
    _, plain = trained(method, "sum")
    assert "learned_weight" not in plain.chosen["age"]


@pytest.mark.parametrize(("batch", "accumulation"), [(24, 1), (8, 3), (4, 6)])
def test_one_step_moves_each_variance_by_its_gradient(
    batch: int, accumulation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the step's rows come: unevenly labelled micro-batches share one half of each logarithm."""

    def descent(groups: list[dict[str, Any]], lr: float, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups], lr=lr)

    monkeypatch.setattr("manyheads.training.tuning.run.torch.optim.AdamW", descent)
    monkeypatch.setattr("manyheads.training.tuning.run.start_heads", lambda *_: None)
    rows = [{**row, "age": row["age"] if number < 5 else None} for number, row in enumerate(DATA)]
    model = headed()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    encoded = [model.tokenizer(str(row["text"]))["input_ids"] for row in rows]
    labels = {
        name: torch.from_numpy(head.spec.encode([row[name] for row in rows], name, "").values)
        for name, head in model.heads.items()
    }
    with torch.no_grad():
        losses = model(**padded([torch.tensor(ids) for ids in encoded]), labels=labels).losses
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        max_grad_norm=0.0, report_to=[], disable_tqdm=True, save_strategy="no", logging_strategy="no", use_cpu=True,
        lr_scheduler_type="constant", num_train_epochs=1, train_sampling_strategy="sequential",
        dataloader_pin_memory=False,
    )  # fmt: skip
    method = mh.Full(head_lr=1e-3, weighting="learned", trainer=arguments)
    result = mh.train(model, rows, "text", method, eval_fraction=0)
    for name, factor in FACTORS.items():
        step = 1e-3 * (factor * float(losses[name]) - 0.5)
        assert math.log(result.chosen[name]["learned_weight"] / factor) == pytest.approx(-step, rel=1e-3)


def test_the_weights_told_are_those_of_the_epoch_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, float]] = []
    judge = Selection.score

    def judged(selection: Selection, metrics: Any, heads: Any) -> float:
        seen.append(made[0].weights())
        judge(selection, metrics, heads)
        return [1.0, 3.0, 2.0, 0.0][len(seen) - 1]

    made: list[LearnedWeighting] = []
    begin = LearnedWeighting.__init__
    monkeypatch.setattr(LearnedWeighting, "__init__", lambda one, *given: [made.append(one), begin(one, *given)][1])
    monkeypatch.setattr(Selection, "score", judged)
    model = headed()
    method = mh.Full(epochs=4, batch_rows=8, head_lr=0.05, start="random", weighting="learned", best_by="mean")
    result = mh.train(model, DATA, "text", method, eval_fraction=0.3)
    assert result.chosen["age"]["best_epoch"] == 2.0
    assert seen[0] != seen[1] != seen[3]
    assert {name: result.chosen[name]["learned_weight"] for name in SPECS} == seen[1]
