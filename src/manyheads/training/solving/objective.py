"""The objective of a linear head and its gradient, for L-BFGS on several subsets of the rows at once.

A *part* p is a subset of the rows, such as the training rows of one fold. All parts share one design matrix, so that
one matrix product serves them all. Symbols and shapes::

    X      (rows, width)        design matrix
    y_p                         targets of part p, as the head's loss takes them
    P      (rows, outputs)      prior logits, 0 without a prior
    W_p    (outputs, width)     weight
    b_p    (outputs,)           bias
    Z_p    (rows_p, outputs)    logits, X[p] W_p^T + b_p + P[p]

Value, (): the weighted mean of the head's loss and an L2 penalty that leaves the bias free::

    f_p = loss(Z_p, y_p) + l2 / 2 * sum(W_p ** 2)

Gradient, with ``G_p = d loss / d Z_p`` (rows_p, outputs)::

    d f_p / d W_p = G_p^T X[p] + l2 * W_p        (outputs, width)
    d f_p / d b_p = sum of G_p over its rows     (outputs,)

Scaling, with ``c_p`` (outputs,), the mean second derivative of the loss with respect to each logit at the start, and
``v`` (width,), the mean square of each column of X. It divides each parameter by the root of its curvature (the
diagonal of the Hessian, approximately), so that L-BFGS starts from a Hessian close to the identity::

    S_p = 1 / sqrt(c_p v^T + l2)                 (outputs, width)
    s_p = 1 / sqrt(mean(c_p))                    (outputs,), all equal

Packing: L-BFGS takes one vector (outputs * width + outputs,) per part, so its points are (parts, size)::

    x_p = [flatten(W_p / S_p), b_p / s_p]
    d f_p / d x_p = [flatten(S_p * d f_p / d W_p), s_p * d f_p / d b_p]

For n rows (or the sum of their weights) this is the objective of scikit-learn's ``LogisticRegression`` with
``C = 1 / (l2 * n)`` and, for squared error, of ``Ridge`` with ``alpha = l2 * n / 2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from manyheads.heads import HeadSpec
from manyheads.runtime.threads import is_worth_threads, threads
from manyheads.training.solving.design import Design
from manyheads.training.solving.linear import Linear

_MIN_CURVATURE = 1e-6


@dataclass(frozen=True)
class Problem:
    """The features and targets that one linear head is solved on.

    Attributes:
        spec: The head's spec, for its loss.
        design: Features on a scale at which one penalty fits all of them, every row labelled.
        targets: As the spec encodes them.
        class_weights: As the loss takes them.
        prior: Logits that are added to the layer's (rows, outputs), or ``None``. The penalty then pulls the sum towards
            the prior instead of zero.
        sample_weight: Weight of each row (rows,), or ``None`` if all count alike.
    """

    spec: HeadSpec
    design: Design
    targets: Tensor
    class_weights: Tensor | None
    prior: Tensor | None = None
    sample_weight: Tensor | None = None

    def logits(self, layer: Linear) -> Tensor:
        """Return the logits of all rows (rows, outputs), prior included."""
        logits = self.design.logits(layer.weight) + layer.bias
        return logits if self.prior is None else logits + self.prior

    def loss(self, layer: Linear) -> Tensor:
        """Return the mean loss without the penalty, ()."""
        return self.spec.loss(self.logits(layer), self.targets, self.class_weights, self.sample_weight).mean

    def take(self, index: Tensor) -> Problem:
        """Return the problem on some rows."""
        prior = None if self.prior is None else self.prior[index]
        taken = replace(self, design=self.design.take(index), targets=self.targets[index], prior=prior)
        return replace(taken, sample_weight=self.weights_of(index))

    def weights_of(self, index: Tensor) -> Tensor | None:
        """Return the weights of some rows, ``None`` if all rows count alike."""
        return None if self.sample_weight is None else self.sample_weight[index]

    def precise(self) -> Problem:
        """Return the problem in fp64 where the design fits into memory in fp64."""
        return replace(self, design=self.design.precise())


class PackedObjective:
    """The objective as a function of packed points, one per part; formulas and shapes are at the top of this file.

    Args:
        problem: Features and targets of all rows.
        parts: Row numbers of each part.
        l2: Strength of the penalty, at least 0.
        start: One layer per part, at which the curvature is measured.
        available_threads: Threads for large products; everything else runs on the threads that are set.
    """

    def __init__(
        self, problem: Problem, parts: Sequence[Tensor], l2: float, start: Linear, available_threads: int = 1
    ) -> None:
        self._problem, self._parts, self._l2 = problem, parts, l2
        self._shape = start.weight.shape
        self._weight_scale, self._bias_scale = _parameter_scales(problem, l2, start)
        multiplications = problem.design.rows * problem.design.width * len(parts) * self._shape[1]
        self._threads = available_threads if is_worth_threads(multiplications) else 1
        self._has_all_rows = [len(part) == problem.design.rows for part in parts]

    def pack(self, layers: Linear) -> Tensor:
        """Return one point per layer, (parts, outputs * width + outputs)."""
        weight, bias = layers.weight / self._weight_scale, layers.bias / self._bias_scale
        return torch.cat([weight.flatten(1), bias], dim=1).to(layers.weight.dtype)

    def unpack(self, points: Tensor) -> Linear:
        """Return one layer per point."""
        _, outputs, width = self._shape
        weight, bias = torch.split(points, [outputs * width, outputs], dim=1)
        return Linear(weight.view(self._shape) * self._weight_scale, bias * self._bias_scale)

    def value_and_gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return each part's value (parts,) and its gradient with respect to its point (parts, size)."""
        problem, layers = self._problem, self.unpack(points)
        count, outputs, width = self._shape
        with threads(self._threads):
            logits = problem.design.logits(layers.weight.reshape(count * outputs, width)).view(-1, count, outputs)
        logit_gradient = torch.zeros_like(logits)  # zero for the rows outside a part
        values = []
        for k, part in enumerate(self._parts):
            part_logits = (logits[:, k] if self._has_all_rows[k] else logits[part, k]) + layers.bias[k]
            if problem.prior is not None:
                part_logits = part_logits + problem.prior[part]
            targets = problem.targets if self._has_all_rows[k] else problem.targets[part]
            loss, logit_gradient[part, k] = _loss_and_gradient(problem, part_logits, targets, problem.weights_of(part))
            values.append(loss + 0.5 * self._l2 * layers.weight[k].square().sum())
        with threads(self._threads):
            gradient = problem.design.gradient(logit_gradient.view(-1, count * outputs)).view(self._shape)
        gradient = (gradient + self._l2 * layers.weight) * self._weight_scale
        bias_gradient = logit_gradient.sum(dim=0) * self._bias_scale
        return torch.stack(values), torch.cat([gradient.flatten(1), bias_gradient], dim=1)


def _loss_and_gradient(
    problem: Problem, logits: Tensor, targets: Tensor, sample_weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the mean loss and its gradient with respect to the logits (rows, outputs)."""
    leaf = logits.detach().requires_grad_()
    with torch.enable_grad():
        loss = problem.spec.loss(leaf, targets, problem.class_weights, sample_weight).mean
        loss.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


def _parameter_scales(problem: Problem, l2: float, start: Linear) -> tuple[Tensor, Tensor]:
    """Return the scales of the weights (parts, outputs, width) and of the biases (parts, outputs)."""
    curvature = torch.stack([_logit_curvature(problem, start[k]) for k in range(len(start.bias))])
    squares = curvature.unsqueeze(-1) * problem.design.variances + l2
    dtype = start.weight.dtype
    # One scale for all biases: softmax ignores a shift that they share, and equal scales keep that shift at zero.
    bias = curvature.mean(dim=1, keepdim=True).expand_as(curvature)
    return squares.clamp(min=_MIN_CURVATURE**2).rsqrt().to(dtype), bias.rsqrt().to(dtype)


def _logit_curvature(problem: Problem, layer: Linear) -> Tensor:
    curvature = problem.spec.curvature(problem.logits(layer).double(), problem.targets)
    return curvature.clamp(min=_MIN_CURVATURE)
