"""What answers depend on, as plain JSON: the model's weights, heads and decisions, and the machine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import torch

from manyheads.backbone.identity.digest import tensors_digest
from manyheads.backbone.identity.tokenizer import tokenizer_digest
from manyheads.core import HeadedCore
from manyheads.features.precision import precision_of, trained_precision
from manyheads.heads import Head
from manyheads.heads.spec_json import write_spec
from manyheads.inference.settings import ScoringSettings
from manyheads.runtime.progress import spinner
from manyheads.types import Tokenizer


def model_fingerprint(core: HeadedCore, tokenizer: Tokenizer, heads: Iterable[str]) -> dict[str, Any]:
    """Return what identifies a model's answers: backbone, tokenizer, and the chosen heads with those they read."""
    core.backbone.check_values()
    used = core.heads.with_dependencies(list(heads))
    with spinner("Hashing weights"):
        return {
            "backbone": tensors_digest(core.backbone),
            "tokenizer": tokenizer_digest(tokenizer),
            "heads": {name: _head(head) for name, head in used.items()},
        }


def precisions(core: HeadedCore, heads: Iterable[str], settings: ScoringSettings) -> dict[str, str]:
    """Return the precision that each head's features are read in on this machine."""
    own = {name: settings.precision or trained_precision(core, core.heads[name]) for name in heads}
    return {
        name: precision_of(core) if dtype is None else str(dtype).removeprefix("torch.") for name, dtype in own.items()
    }


def machine(core: HeadedCore) -> dict[str, Any]:
    """Return what the last bits of answers depend on besides."""
    device = core.backbone.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {"device": f"{device.type} {name}", "torch": torch.__version__, "threads": torch.get_num_threads()}


def _head(head: Head) -> dict[str, Any]:
    spec = json.dumps(write_spec(head.spec), sort_keys=True, default=str)
    decision = {name: getattr(head.decision, name) for name in head.decision.settings}
    return {
        "settings": sha256(spec.encode()).hexdigest(),
        "weights": tensors_digest(head),
        "decision": json.loads(json.dumps(decision)),
    }
