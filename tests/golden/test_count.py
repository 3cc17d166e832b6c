"""Count heads: the solver against scikit-learn's PoissonRegressor, the loss against torch, cells, files, tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import PoissonRegressor
from torch.nn import functional as F

import manyheads as mh
from manyheads.evaluation.metrics import measure
from manyheads.training.solving.design import DenseDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.solve import solve_refined
from tests.families import BY_NAME, TEXTS, tokenizer_for

ROWS, WIDTH = 200, 6


def drawn(mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw features, and counts whose logarithm is linear in them."""
    draw = np.random.default_rng(3)
    features = draw.normal(size=(ROWS, WIDTH)).astype(np.float32)
    rates = np.exp(np.log(mean) + features @ (0.4 * draw.normal(size=WIDTH)))
    return features, draw.poisson(rates).astype(np.float32)


@pytest.mark.parametrize("l2", [1.0, 0.1, 0.001])
@pytest.mark.parametrize("mean", [0.05, 3.0, 20_000.0], ids=["rare", "few", "many"])
def test_the_solution_is_that_of_poisson_regressor(mean: float, l2: float) -> None:
    features, counts = drawn(mean)
    spec = mh.Count()
    start = Linear.zeros(1, WIDTH)
    start.bias.fill_(spec.initial_bias(counts))
    problem = Problem(spec, DenseDesign(torch.from_numpy(features)), torch.from_numpy(counts), None)
    layer = solve_refined(problem, l2, start)
    wide = features.astype(np.float64)
    peer = PoissonRegressor(alpha=l2, solver="newton-cholesky", tol=1e-6).fit(wide, counts.astype(np.float64))
    np.testing.assert_allclose(layer.weight[0].numpy(), peer.coef_, atol=1e-3)
    np.testing.assert_allclose(layer.bias.numpy(), [peer.intercept_], atol=1e-3)
    found = layer(torch.from_numpy(wide))[:, 0].exp().numpy()
    np.testing.assert_allclose(found, peer.predict(wide), rtol=5e-3)


def test_the_loss_is_half_the_deviance_and_its_gradient_that_of_torch() -> None:
    counts = torch.tensor([0.0, 0.0, 1.0, 7.0, 2.0**24, float("nan")])
    logits = torch.tensor([[-3.0], [4.0], [0.1], [90.0], [16.7], [5.0]], dtype=torch.float64, requires_grad=True)
    spec, present = mh.Count(), slice(0, 5)
    terms = spec.loss(logits, counts, None)
    assert terms.count == 5
    (mine,) = torch.autograd.grad(terms.total, logits)
    peer = F.poisson_nll_loss(logits[present, 0], counts[present].double(), reduction="sum")
    (theirs,) = torch.autograd.grad(peer, logits)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)
    assert float(spec.loss(torch.tensor([[np.log(7.0)]]), torch.tensor([7.0]), None).total) == pytest.approx(
        0.0, abs=1e-6
    )


def test_metrics_are_those_of_scikit_learn() -> None:
    from sklearn import metrics as sk

    features, counts = drawn(3.0)
    logits = np.log(3.0) + 0.1 * features[:, :1]
    found = measure(mh.Count(), counts, logits)
    assert found["mean_poisson_deviance"] == pytest.approx(
        sk.mean_poisson_deviance(counts, np.exp(logits[:, 0])), rel=1e-6
    )
    assert found["d2"] == pytest.approx(sk.d2_tweedie_score(counts, np.exp(logits[:, 0]), power=1), abs=1e-6)
    assert measure(mh.Count(), np.full(3, np.nan, np.float32), logits[:3]) == {"rows": 0}


@pytest.mark.parametrize("hidden", [(), (8,)], ids=["linear", "stacked"])
def test_train_save_load_and_read_by_another_head(tmp_path: Path, hidden: tuple[int, ...]) -> None:
    family = BY_NAME["bert"]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    model.add_head("words", mh.Count(hidden=hidden, reads=mh.Hidden(pool="mean")))
    model.add_head("long", mh.Multiclass(labels=["no", "yes"], reads=[mh.Hidden(), mh.Output("words")]))
    rows = [
        {"text": text, "words": 10 * len(text.split()), "long": "yes" if len(text.split()) > 5 else "no"}
        for text in (f"{text} {number}" for text in TEXTS for number in range(4))
    ]
    rows[3]["words"] = None
    result = mh.train(model, rows, text="text", method=mh.Frozen(cache=None))
    assert result.rows["words"]["train"] + result.rows["words"]["evaluate"] == len(rows) - 1
    assert result.metrics["words"]["d2"] > 0.2
    model.save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    before, after = model.predict(TEXTS), again.predict(TEXTS)
    assert again.heads["words"].spec == model.heads["words"].spec
    np.testing.assert_array_equal(before.logits["words"], after.logits["words"])
    values = before.values["words"]
    np.testing.assert_allclose(values, np.exp(before.logits["words"][:, 0]), rtol=1e-6)
    assert before[0]["words"].value == pytest.approx(float(values[0]))
    assert list(before.columns()) == ["words_value", "long_label", "long_score"]


@pytest.mark.parametrize("cell", [-1, 2.5, "many", float("inf"), 2**24 + 1, "1e400"])
def test_a_cell_that_is_not_a_count_is_an_error_with_its_row(cell: object) -> None:
    with pytest.raises(mh.errors.LabelError, match=r"(?s)head 'n'.*\(row 2\).*is not a"):
        mh.Count().encode([1, cell], "n", "table")


def test_numbers_are_never_inferred_as_counts() -> None:
    inferred = mh.infer_heads([{"n": number} for number in range(200)], ["n"])
    assert inferred["n"] == mh.Regression(column="n")
