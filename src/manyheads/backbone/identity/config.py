"""The entries of a model's config that affect its computation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from manyheads.runtime.hashes import combined_digest

# Entries of config.json that affect neither hidden states nor logits.
IGNORED_CONFIG_KEYS = frozenset(
    {
        "_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "return_dict", "id2label",
        "label2id", "problem_type", "output_hidden_states", "output_attentions", "task_specific_params",
    }
)  # fmt: skip


def relevant_entries(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config that affect the computation, also in nested configs."""
    return {
        key: relevant_entries(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in IGNORED_CONFIG_KEYS
    }


def config_digest(model: nn.Module) -> str:
    """Return a digest of the entries of a model's config that affect the computation and are not defaults."""
    config: Any = model.config
    return combined_digest([json.dumps(relevant_entries(config.to_diff_dict()), sort_keys=True, default=str)])
