"""Weights in INT8, symmetric, with a scale for each output.

For a weight ``W`` (inputs, outputs)::

    s_j = max_i |W_ij| / 127
    Q_ij = round(W_ij / s_j)                  W_ij is about s_j Q_ij
"""

from __future__ import annotations

import numpy as np

_LARGEST = 127.0
# The scale of an output whose weights are all 0.
_TINY = 1e-20


def quantized(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a weight as int8 (inputs, outputs), and the scales of its outputs, fp32 (outputs,)."""
    scales = np.maximum(np.abs(weight).max(axis=0) / _LARGEST, _TINY).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales
