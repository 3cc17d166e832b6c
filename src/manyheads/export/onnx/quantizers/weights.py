"""Weights in INT8, symmetric, with a scale for each output.

For a weight ``W`` (inputs, outputs) and what it is multiplied with, ``x`` (inputs,)::

    t_j = max_k |W_kj| / 127
    Q_kj = round(W_kj / t_j)                  W_kj is about t_j Q_kj
    H = sum x x'                              (inputs, inputs), over the tokens of sample texts

What matters is the error of ``x W``. The weights of one input after the other are rounded, and the weights of the
inputs that follow make up for the error (GPTQ, Frantar et al. 2023, equation 3 and algorithm 1)::

    U' U = inverse(H + 0.01 mean(diagonal H) I)       U is upper triangular
    e_j = (W_kj - t_j Q_kj) / U_kk
    W_lj -= U_kl e_j                                  for l > k
"""

from __future__ import annotations

import numpy as np

_LARGEST = 127.0
# The scale of an output whose weights are all 0.
_TINY = 1e-20
_DAMPING = 0.01
# Inputs whose errors reach the inputs after them together, which is one product instead of many.
_BLOCK = 64


def quantized(weight: np.ndarray, moments: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return a weight as int8 (inputs, outputs), and the scales of its outputs, fp32 (outputs,).

    Args:
        weight: fp32 (inputs, outputs).
        moments: ``H``; ``None`` rounds each number to the nearest one.
    """
    scales = np.maximum(np.abs(weight).max(axis=0) / _LARGEST, _TINY).astype(np.float32)
    if moments is None:
        return _nearest(weight / scales).astype(np.int8), scales
    return _rounded(weight / scales, moments).astype(np.int8), scales


def _nearest(values: np.ndarray) -> np.ndarray:
    nearest: np.ndarray = np.clip(np.rint(values), -_LARGEST, _LARGEST)
    return nearest


def _rounded(values: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return ``Q`` of a weight in units of its scales."""
    # The inputs that matter most come first, while many others are left to make up for their errors.
    order = np.argsort(-np.diagonal(moments), kind="stable")
    left, factor = values[order].astype(np.float64), _factor(moments[np.ix_(order, order)])
    found = np.empty_like(values)
    for start in range(0, len(left), _BLOCK):
        end = min(start + _BLOCK, len(left))
        errors = np.empty((end - start, left.shape[1]))
        for row in range(start, end):
            found[order[row]] = _nearest(left[row])
            errors[row - start] = (left[row] - found[order[row]]) / factor[row, row]
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], errors[row - start])
        left[end:] -= factor[start:end, end:].T @ errors
    return found


def _factor(moments: np.ndarray) -> np.ndarray:
    """Return ``U``, fp64 (inputs, inputs)."""
    size = len(moments)
    damped = moments.astype(np.float64) + (_DAMPING * moments.diagonal().mean() + _TINY) * np.eye(size)
    factor: np.ndarray = np.linalg.cholesky(np.linalg.inv(damped)).T
    return factor
