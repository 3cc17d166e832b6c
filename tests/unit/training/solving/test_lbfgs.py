"""The solver against SciPy and scikit-learn, several problems at once, and the matrices that it is solved on."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

import manyheads as mh
from manyheads.training.solving import design as designs
from manyheads.training.solving.design import DenseDesign, Design, JoinedDesign, SparseDesign, StreamedDesign
from manyheads.training.solving.lbfgs import Objective, minimize
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.scaling import Basis, Scaling
from manyheads.training.solving.solve import solve, solve_parts

LABELS = ["routine", "urgent", "emergency"]
ROWS, WIDTH = 120, 10


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def quadratics(conditions: list[float], size: int = 20) -> tuple[Objective, Tensor]:
    """Return bowls, the more oblong the larger the condition, that all reach down to one; and where."""
    turns = torch.linalg.qr(draw(len(conditions), size, size)).Q
    curvatures = torch.stack([torch.logspace(0, -np.log10(condition), size).double() for condition in conditions])
    bowls = turns @ torch.diag_embed(curvatures) @ turns.mT
    bottoms = draw(len(conditions), size, seed=1)

    def objective(points: Tensor) -> tuple[Tensor, Tensor]:
        apart = points - bottoms
        slopes = (bowls @ apart.unsqueeze(2)).squeeze(2)
        return 1.0 + 0.5 * (apart * slopes).sum(dim=1), slopes

    return objective, bottoms


def logistic(features: Tensor, marks: Tensor, l2: float) -> Objective:
    """Return one logistic regression per column of marks."""

    def objective(points: Tensor) -> tuple[Tensor, Tensor]:
        leaf = points.detach().requires_grad_()
        losses = F.binary_cross_entropy_with_logits(features @ leaf.T, marks, reduction="none").mean(dim=0)
        values = losses + 0.5 * l2 * leaf.square().sum(dim=1)
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), gradient

    return objective


def by_scipy(objective: Objective, start: Tensor, place: int) -> np.ndarray:
    """Return where SciPy finds the least value of one of the problems."""

    def alone(point: np.ndarray) -> tuple[float, np.ndarray]:
        points = start.clone()
        points[place] = torch.from_numpy(point)
        values, gradients = objective(points)
        return float(values[place]), gradients[place].numpy()

    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 10_000}
    return scipy.optimize.minimize(alone, start[place].numpy(), jac=True, method="L-BFGS-B", options=options).x


# --- the minimiser --------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e3, 1e5])
def test_the_bottom_of_a_bowl(condition: float) -> None:
    objective, bottoms = quadratics([condition])
    found = minimize(objective, torch.zeros_like(bottoms), 1e-14)
    torch.testing.assert_close(objective(found)[0], torch.ones(1).double(), rtol=1e-9, atol=0)
    torch.testing.assert_close(found, bottoms, rtol=0, atol=1e-6 * condition)


def test_bowls_of_unequal_difficulty_at_once_are_those_one_by_one() -> None:
    conditions = [1.0, 1e4, 30.0, 300.0]
    objective, bottoms = quadratics(conditions)
    together = minimize(objective, torch.zeros_like(bottoms), 1e-14)
    for place in range(len(conditions)):

        def alone(points: Tensor, place: int = place) -> tuple[Tensor, Tensor]:
            values, gradients = objective(points.expand(len(conditions), -1))
            return values[place : place + 1], gradients[place : place + 1]

        one = minimize(alone, torch.zeros_like(bottoms[:1]), 1e-14)
        torch.testing.assert_close(objective(together)[0][place], alone(one)[0][0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_logistic_problems_reach_scipys_optimum(l2: float) -> None:
    features = draw(ROWS, WIDTH) * torch.logspace(-1, 0.5, WIDTH).double()
    marks = (features @ draw(WIDTH, 4, seed=2) + draw(ROWS, 4, seed=3) > 0).double()
    objective, start = logistic(features, marks, l2), torch.zeros((4, WIDTH), dtype=torch.float64)
    found = minimize(objective, start, 1e-12)
    for place in range(4):
        best = start.clone()
        best[place] = torch.from_numpy(by_scipy(objective, start, place))
        torch.testing.assert_close(objective(found)[0][place], objective(best)[0][place], rtol=1e-8, atol=0)


def test_a_problem_that_is_solved_already_stays_in_place() -> None:
    objective, bottoms = quadratics([1e4, 1e4])
    start = torch.stack([bottoms[0], torch.zeros_like(bottoms[1])])
    found = minimize(objective, start, 1e-12)
    assert torch.equal(found[0], bottoms[0])
    torch.testing.assert_close(objective(found)[0][1], torch.ones(()).double(), rtol=1e-8, atol=0)


def test_a_far_start_and_a_wall_are_no_trouble() -> None:
    """Beyond one side the value is infinite: a step that lands there is shortened."""

    def objective(points: Tensor) -> tuple[Tensor, Tensor]:
        inside = points < 3.0
        value = torch.where(inside, points - (3.0 - points).clamp(min=1e-300).log(), float("inf"))
        return value.sum(dim=1) + 300.0, torch.where(inside, 1 + 1 / (3.0 - points).clamp(min=1e-300), 0.0)

    def bounded(points: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = objective(points)
        return values + 0.5 * points.square().sum(dim=1), slopes + points

    found = minimize(bounded, torch.tensor([[2.999], [-100.0]], dtype=torch.float64), 1e-14)
    torch.testing.assert_close(bounded(found)[1], torch.zeros_like(found), rtol=0, atol=1e-5)


# --- the matrices ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(designs, "_STREAMED_ROWS", 7)


@pytest.fixture(scope="module")
def features() -> Tensor:
    """(rows, width) fp32 at unequal scales, one constant, one the sum of two others."""
    features = draw(ROWS, WIDTH) * torch.logspace(-2, 2, WIDTH).double() + 5.0
    features[:, 3] = 2.0
    features[:, 7] = features[:, 5] + features[:, 6]
    return features.float()


@pytest.fixture(scope="module")
def classes(features: Tensor) -> Tensor:
    return (Scaling.of(features).apply(features)[:, 4:7] + draw(ROWS, 3, seed=5)).argmax(dim=1)


def streamed_and_dense(features: Tensor) -> tuple[StreamedDesign, DenseDesign]:
    streamed = StreamedDesign(lambda rows: features[torch.from_numpy(rows)], np.arange(len(features)))
    return streamed, DenseDesign(streamed.basis.apply(features), streamed.variances)


def test_weights_of_rows_give_the_axes_of_repeated_rows(features: Tensor) -> None:
    weights = torch.arange(ROWS) % 3 + 1.0
    repeated = features[torch.arange(ROWS).repeat_interleave(weights.long())]
    expected = Basis.of(repeated)
    streamed = StreamedDesign(lambda rows: features[torch.from_numpy(rows)], np.arange(ROWS), sample_weight=weights)
    for basis in (Basis.of(features, weights), streamed.basis):
        torch.testing.assert_close(basis.scaling.mean, expected.scaling.mean)
        torch.testing.assert_close(basis.scaling.deviation, expected.scaling.deviation)
        # The sum of two others has no variance of its own, but for rounding: it may have an axis or not.
        found, wanted = (F.pad(one.variances, (WIDTH - len(one.variances), 0)) for one in (basis, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    few, weights = features[:6], weights[:6]
    found, expected = Basis.of(few, weights), Basis.of(few[torch.arange(6).repeat_interleave(weights.long())])
    grams = [basis.axes * basis.variances.float() @ basis.axes.T for basis in (found, expected)]
    torch.testing.assert_close(*grams, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.axes.T @ found.axes, torch.eye(found.axes.shape[1]), rtol=1e-4, atol=1e-4)


def sparse_bags(seed: int = 0) -> csr_array:
    draws = np.random.default_rng(seed)
    return csr_array(np.where(draws.random((ROWS, 30)) < 0.1, draws.random((ROWS, 30)), 0.0).astype(np.float32))


def whole(design: Design) -> Tensor:
    """Return the matrix itself, (rows, width) fp64."""
    return design.logits(torch.eye(design.width, dtype=torch.float64))


def objective_of(problem: Problem, layer: Linear, l2: float) -> float:
    exact = layer.to(torch.float64)
    return float(problem.precise().loss(exact)) + 0.5 * l2 * float(exact.weight.square().sum())


def test_a_streamed_design_is_the_dense_one_block_by_block(features: Tensor) -> None:
    streamed, dense = streamed_and_dense(features)
    weight, slope = draw(3, dense.width, seed=1).float(), draw(ROWS, 3, seed=2).float()
    index = torch.tensor([5, 3, 3, 90, 17, 1, 8, 44, 100])
    pairs = {
        "logits": (streamed.logits(weight), dense.logits(weight)),
        "gradient": (streamed.gradient(slope), dense.gradient(slope)),
        "taken": (streamed.take(index).logits(weight), dense.take(index).logits(weight)),
        "gradient of taken": (streamed.take(index).gradient(slope[:9]), dense.take(index).gradient(slope[:9])),
    }
    for found, expected in pairs.values():
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert streamed.rows == dense.rows == ROWS
    assert streamed.take(index).rows == 9


def test_axes_measured_block_by_block_are_those_of_the_whole(features: Tensor) -> None:
    streamed, _ = streamed_and_dense(features)
    basis = Basis.of(features)
    assert len(basis.variances) == WIDTH - 2  # one column is constant, one is the sum of two
    torch.testing.assert_close(streamed.variances, basis.variances, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(basis.axes.T @ basis.axes, torch.eye(WIDTH - 2), rtol=0, atol=1e-5)
    # More columns than rows: the axes come from the other Gram matrix, and span the same.
    few = Basis.of(features[:6])
    again = few.apply(features[:6]).double().square().mean(dim=0)
    torch.testing.assert_close(again, few.variances, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("l2", [0.1, 1e-3])
def test_solving_block_by_block_reaches_the_same_optimum(features: Tensor, classes: Tensor, l2: float) -> None:
    streamed, dense = streamed_and_dense(features)
    spec = mh.Multiclass(labels=LABELS)
    found = [
        solve(Problem(spec, design, classes, None), l2, Linear.zeros(3, design.width), 1e-7)
        for design in (streamed, dense)
    ]
    values = [objective_of(Problem(spec, dense, classes, None), layer, l2) for layer in found]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_streamed_and_sparse_regression_reach_the_closed_form(features: Tensor) -> None:
    streamed, dense = streamed_and_dense(features)
    targets, l2 = (features[:, 5] * 100.0 + 1e4), 0.01
    best = solve(Problem(mh.Regression(), dense.precise(), targets, None), l2, Linear.zeros(1, dense.width))
    posed = Problem(mh.Regression(), streamed, targets, None)
    found = solve(posed, l2, Linear.zeros(1, streamed.width, torch.float64))
    exact = Problem(mh.Regression(), dense, targets, None)
    assert objective_of(exact, found, l2) == pytest.approx(objective_of(exact, best, l2), rel=1e-4)


def test_sparse_and_joined_designs_are_their_matrices_side_by_side(features: Tensor) -> None:
    bags = sparse_bags()
    joined = JoinedDesign([DenseDesign(features), SparseDesign(bags)])
    matrix = torch.cat([features.double(), torch.from_numpy(bags.toarray()).double()], dim=1)
    index, slope = torch.tensor([9, 2, 2, 50]), draw(ROWS, 2, seed=3)
    torch.testing.assert_close(whole(joined), matrix)
    torch.testing.assert_close(whole(joined.take(index)), matrix[index])
    torch.testing.assert_close(joined.precise().gradient(slope), slope.T @ matrix)
    torch.testing.assert_close(joined.variances, matrix.square().mean(dim=0), rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(joined.take(index).variances, joined.variances)
    assert (joined.rows, joined.width, joined.take(index).rows) == (ROWS, WIDTH + 30, 4)


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_a_joined_design_reaches_scikit_learns_optimum(features: Tensor, classes: Tensor, l2: float) -> None:
    _, dense = streamed_and_dense(features)
    joined = JoinedDesign([dense, SparseDesign(sparse_bags() * np.float32(5.0))])
    posed = Problem(mh.Multiclass(labels=LABELS), joined, classes, None)
    matrix = whole(joined).numpy()
    theirs = LogisticRegression(C=1 / (l2 * ROWS), tol=1e-10, max_iter=10_000).fit(matrix, classes.numpy())
    best = Linear(torch.from_numpy(theirs.coef_), torch.from_numpy(theirs.intercept_))
    found = solve(posed.precise(), l2, Linear.zeros(3, joined.width, torch.float64))
    assert objective_of(posed, found, l2) == pytest.approx(objective_of(posed, best, l2), rel=1e-4)


def test_parts_solved_at_once_are_the_parts_one_by_one(features: Tensor, classes: Tensor) -> None:
    _, dense = streamed_and_dense(features)
    joined = JoinedDesign([dense.precise(), SparseDesign(sparse_bags().astype(np.float64))])
    posed, l2 = Problem(mh.Multiclass(labels=LABELS), joined, classes, None), 1e-3
    parts = [torch.arange(ROWS), torch.arange(0, ROWS, 3), torch.arange(40)]
    start = Linear.zeros(3, joined.width, torch.float64)
    together = solve_parts(posed, parts, l2, start.repeated(3), 1e-10)
    for place, part in enumerate(parts):
        alone = solve(posed.take(part), l2, start, 1e-10)
        found = objective_of(posed.take(part), together[place], l2)
        assert found == pytest.approx(objective_of(posed.take(part), alone, l2), rel=1e-6)
