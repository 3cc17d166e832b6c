"""Parameter groups of AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def parameter_groups(learning_rates: Mapping[nn.Parameter, float], weight_decay: float) -> list[dict[str, Any]]:
    """Return one group per learning rate and decay; only matrices decay, biases and scales do not.

    Args:
        learning_rates: Of each parameter to train.
        weight_decay: Of the matrices.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, rate in learning_rates.items():
        groups.setdefault((rate, weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
