"""manyheads: add any number of prediction heads to one pretrained Transformer and keep the head it came with.

All public names are listed here. They are imported on first use, so that ``import manyheads`` does not load torch.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from manyheads._version import VERSION

# Threads of torch that wait for each other otherwise spin for long: beside another busy process, a training took seven
# times as long. They spin for some microseconds only, within which the next kernel mostly begins: without that, batches
# of 32 to 512 texts took a fifth longer. OpenMP reads both when torch is imported.
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

if TYPE_CHECKING:
    from manyheads import distributed as distributed
    from manyheads import errors as errors
    from manyheads import mlflow as mlflow
    from manyheads import server as server
    from manyheads.data.collate import collate as collate
    from manyheads.data.infer import infer_heads as infer_heads
    from manyheads.data.vocabulary.added_tokens import AddedTokens as AddedTokens
    from manyheads.data.vocabulary.propose import WordProposal as WordProposal
    from manyheads.data.vocabulary.propose import WordProposals as WordProposals
    from manyheads.deciding.promises.decision_fit import DecisionFit as DecisionFit
    from manyheads.errors import ManyheadsError as ManyheadsError
    from manyheads.errors import ManyheadsWarning as ManyheadsWarning
    from manyheads.evaluation.compare import Comparison as Comparison
    from manyheads.evaluation.compare import compare as compare
    from manyheads.evaluation.lm_check import LMCheck as LMCheck
    from manyheads.evaluation.report import Report as Report
    from manyheads.functions.check_lm import check_lm as check_lm
    from manyheads.functions.cross_validate import cross_validate as cross_validate
    from manyheads.functions.evaluate import evaluate as evaluate
    from manyheads.functions.fit_decision import fit_decision as fit_decision
    from manyheads.functions.label_issues import label_issues as label_issues
    from manyheads.functions.next_to_label import next_to_label as next_to_label
    from manyheads.functions.predictor import Predictor as Predictor
    from manyheads.functions.propose_words import propose_words as propose_words
    from manyheads.functions.train import train as train
    from manyheads.heads.decision import Decision as Decision
    from manyheads.heads.kinds import Count as Count
    from manyheads.heads.kinds import Multiclass as Multiclass
    from manyheads.heads.kinds import MultiLabel as MultiLabel
    from manyheads.heads.kinds import Ordinal as Ordinal
    from manyheads.heads.kinds import Regression as Regression
    from manyheads.heads.kinds import Tokens as Tokens
    from manyheads.inference import GenerationEnd as GenerationEnd
    from manyheads.inference import Predictions as Predictions
    from manyheads.inference import TextPiece as TextPiece
    from manyheads.labelling.label_issues import LabelIssue as LabelIssue
    from manyheads.labelling.label_issues import LabelIssues as LabelIssues
    from manyheads.model import HeadedModel as HeadedModel
    from manyheads.onnx.predictor import OnnxPredictor as OnnxPredictor
    from manyheads.scoring.summary import RowError as RowError
    from manyheads.scoring.summary import ScoringSummary as ScoringSummary
    from manyheads.taps import Hidden as Hidden
    from manyheads.taps import Lexical as Lexical
    from manyheads.taps import LMLogits as LMLogits
    from manyheads.taps import Output as Output
    from manyheads.training import Frozen as Frozen
    from manyheads.training import TrainResult as TrainResult
    from manyheads.training.auto.method import Auto as Auto
    from manyheads.training.tuning.fork import Fork as Fork
    from manyheads.training.tuning.full import Full as Full
    from manyheads.training.tuning.lora import LoRA as LoRA
    from manyheads.training.tuning.trainer import Trainer as Trainer
    from manyheads.types import Prediction as Prediction
    from manyheads.types import Span as Span

__version__ = VERSION

# Public name -> the module that defines it.
_MODULES = {
    "AddedTokens": "manyheads.data.vocabulary.added_tokens",
    "Auto": "manyheads.training.auto.method",
    "Comparison": "manyheads.evaluation.compare",
    "Count": "manyheads.heads.kinds",
    "Decision": "manyheads.heads.decision",
    "DecisionFit": "manyheads.deciding.promises.decision_fit",
    "Fork": "manyheads.training.tuning.fork",
    "Frozen": "manyheads.training",
    "Full": "manyheads.training.tuning.full",
    "GenerationEnd": "manyheads.inference",
    "HeadedModel": "manyheads.model",
    "Hidden": "manyheads.taps",
    "LMCheck": "manyheads.evaluation.lm_check",
    "LMLogits": "manyheads.taps",
    "LabelIssue": "manyheads.labelling.label_issues",
    "LabelIssues": "manyheads.labelling.label_issues",
    "Lexical": "manyheads.taps",
    "LoRA": "manyheads.training.tuning.lora",
    "ManyheadsError": "manyheads.errors",
    "ManyheadsWarning": "manyheads.errors",
    "MultiLabel": "manyheads.heads.kinds",
    "Multiclass": "manyheads.heads.kinds",
    "OnnxPredictor": "manyheads.onnx.predictor",
    "Ordinal": "manyheads.heads.kinds",
    "Output": "manyheads.taps",
    "Prediction": "manyheads.types",
    "Predictions": "manyheads.inference",
    "Predictor": "manyheads.functions.predictor",
    "Regression": "manyheads.heads.kinds",
    "Report": "manyheads.evaluation.report",
    "RowError": "manyheads.scoring.summary",
    "ScoringSummary": "manyheads.scoring.summary",
    "Span": "manyheads.types",
    "TextPiece": "manyheads.inference",
    "Tokens": "manyheads.heads.kinds",
    "TrainResult": "manyheads.training",
    "Trainer": "manyheads.training.tuning.trainer",
    "WordProposal": "manyheads.data.vocabulary.propose",
    "WordProposals": "manyheads.data.vocabulary.propose",
    "check_lm": "manyheads.functions.check_lm",
    "collate": "manyheads.data.collate",
    "compare": "manyheads.evaluation.compare",
    "cross_validate": "manyheads.functions.cross_validate",
    "evaluate": "manyheads.functions.evaluate",
    "fit_decision": "manyheads.functions.fit_decision",
    "infer_heads": "manyheads.data.infer",
    "label_issues": "manyheads.functions.label_issues",
    "next_to_label": "manyheads.functions.next_to_label",
    "propose_words": "manyheads.functions.propose_words",
    "train": "manyheads.functions.train",
}

# Public modules.
_SUBMODULES = ("distributed", "errors", "mlflow", "server")

__all__ = sorted([*_MODULES, *_SUBMODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return import_module(f"manyheads.{name}")
    raise AttributeError(f"module 'manyheads' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
