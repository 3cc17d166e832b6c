"""Which rows of encoded targets carry a label."""

from __future__ import annotations

import numpy as np
import torch

from manyheads.heads import HeadSpec


def labelled_rows(spec: HeadSpec, targets: np.ndarray) -> np.ndarray:
    """Return (rows,) booleans."""
    present: np.ndarray = spec.labelled(torch.from_numpy(targets)).numpy()
    return present
