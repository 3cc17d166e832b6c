"""A head's scores as torch operations, for heads in the graph that read them (``Output``).

A kind computes its scores in NumPy (``HeadSpec.raw_scores``), which no graph can contain. Here is the same formula in
torch for each kind that another head can read, compared with the kind's own before it is used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.errors import ExportError
from manyheads.heads import Head

Scores = Callable[[Tensor], Tensor]

_TOLERANCE = 1e-5
# Beyond this logit the expected count has no value in fp32; the kind cuts it off there too.
_LARGEST_LOGIT = 88.0


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)


def _conditional(logits: Tensor) -> Tensor:
    """Return the labels' probabilities from those of each next label (ordinal)."""
    none = torch.zeros_like(logits[:, :1])
    reached = torch.cat([none, F.logsigmoid(logits).cumsum(dim=-1)], dim=-1)
    return (reached + torch.cat([F.logsigmoid(-logits), none], dim=-1)).exp()


def _expected_count(logits: Tensor) -> Tensor:
    return logits.clamp(max=_LARGEST_LOGIT).exp()


def _unchanged(logits: Tensor) -> Tensor:
    return logits


# Kind -> the torch form of its ``raw_scores``.
SCORES: dict[str, Scores] = {
    "multiclass": _softmax,
    "multilabel": torch.sigmoid,
    "ordinal": _conditional,
    "regression": _unchanged,
    "count": _expected_count,
}


def scores_of(name: str, head: Head) -> Scores:
    """Return the function from a head's logits (rows, outputs) to its scores (rows, scores).

    Raises:
        ExportError: there is no torch form of its kind's scores, or one that computes other scores.
    """
    found = SCORES.get(head.spec.kind)
    logits = np.linspace(-8.0, 8.0, 5 * head.spec.outputs, dtype=np.float32).reshape(5, -1)
    own = head.spec.raw_scores(logits)
    if found is None or not np.allclose(found(torch.from_numpy(logits)), own, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ExportError(
            f"Head {name!r}: another head reads its scores, and a graph has no operation for those of a "
            f"{head.spec.kind!r} head; export heads that do not read it (heads=[...])"
        )
    return found
