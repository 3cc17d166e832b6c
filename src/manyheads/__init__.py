"""manyheads: as many prediction heads as you like, side by side, on one pretrained Transformer.

Everything public is named here, and imported only when it is used: ``import manyheads`` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manyheads._version import VERSION
from manyheads.errors import ManyheadsError, ManyheadsWarning

if TYPE_CHECKING:
    from manyheads.data.collate import collate
    from manyheads.data.infer import infer_heads
    from manyheads.data.vocabulary.added_tokens import AddedTokens
    from manyheads.data.vocabulary.propose import WordProposal, WordProposals
    from manyheads.evaluation.lm_check import LMCheck
    from manyheads.heads import Multiclass, MultiLabel, Ordinal, Regression, Tokens
    from manyheads.inference import Predictions
    from manyheads.model import HeadedModel, check_lm, propose_words, train
    from manyheads.taps import Hidden, Lexical, LMLogits, Output
    from manyheads.training import Frozen, TrainResult
    from manyheads.training.tuning.fork import Fork
    from manyheads.training.tuning.full import Full
    from manyheads.training.tuning.lora import LoRA
    from manyheads.training.tuning.trainer import Trainer
    from manyheads.types import Prediction, Span

__version__ = VERSION

_HOMES = {
    "AddedTokens": "manyheads.data.vocabulary.added_tokens",
    "Fork": "manyheads.training.tuning.fork",
    "Frozen": "manyheads.training",
    "Full": "manyheads.training.tuning.full",
    "HeadedModel": "manyheads.model",
    "Hidden": "manyheads.taps",
    "LMCheck": "manyheads.evaluation.lm_check",
    "LMLogits": "manyheads.taps",
    "Lexical": "manyheads.taps",
    "LoRA": "manyheads.training.tuning.lora",
    "MultiLabel": "manyheads.heads",
    "Multiclass": "manyheads.heads",
    "Ordinal": "manyheads.heads",
    "Output": "manyheads.taps",
    "Prediction": "manyheads.types",
    "Predictions": "manyheads.inference",
    "Regression": "manyheads.heads",
    "Span": "manyheads.types",
    "Tokens": "manyheads.heads",
    "TrainResult": "manyheads.training",
    "Trainer": "manyheads.training.tuning.trainer",
    "WordProposal": "manyheads.data.vocabulary.propose",
    "WordProposals": "manyheads.data.vocabulary.propose",
    "check_lm": "manyheads.model",
    "collate": "manyheads.data.collate",
    "infer_heads": "manyheads.data.infer",
    "propose_words": "manyheads.model",
    "train": "manyheads.model",
}

__all__ = [
    "AddedTokens",
    "Fork",
    "Frozen",
    "Full",
    "HeadedModel",
    "Hidden",
    "LMCheck",
    "LMLogits",
    "Lexical",
    "LoRA",
    "ManyheadsError",
    "ManyheadsWarning",
    "MultiLabel",
    "Multiclass",
    "Ordinal",
    "Output",
    "Prediction",
    "Predictions",
    "Regression",
    "Span",
    "Tokens",
    "TrainResult",
    "Trainer",
    "WordProposal",
    "WordProposals",
    "__version__",
    "check_lm",
    "collate",
    "errors",
    "infer_heads",
    "propose_words",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name == "errors":
        return import_module("manyheads.errors")
    raise AttributeError(f"module 'manyheads' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
