"""Head kinds: each a frozen spec (plain JSON) with its loss and its decoding, in a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manyheads.heads.base import HeadSpec, LossTerms
from manyheads.heads.decision import NEUTRAL, Decision
from manyheads.heads.kinds import KINDS, Multiclass, MultiLabel, Ordinal, Regression, Tokens
from manyheads.heads.kinds.labelled import LabelledSpec
from manyheads.heads.kinds.one_label import OneLabelSpec
from manyheads.heads.logits import Logits, RowLogits, WordLogits
from manyheads.heads.ragged import Ragged
from manyheads.heads.spec_json import read_spec, write_spec
from manyheads.heads.targets import RowTargets, ShareTargets, Targets, WordTargets
from manyheads.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from manyheads.heads.collection import HeadCollection
    from manyheads.heads.module import Head

__all__ = [
    "KINDS",
    "NEUTRAL",
    "Decision",
    "Head",
    "HeadCollection",
    "HeadSpec",
    "LabelledSpec",
    "Logits",
    "LossTerms",
    "MultiLabel",
    "Multiclass",
    "OneLabelSpec",
    "Ordinal",
    "Ragged",
    "Regression",
    "RowLogits",
    "RowTargets",
    "ShareTargets",
    "Targets",
    "Tokens",
    "WordLogits",
    "WordTargets",
    "read_spec",
    "write_spec",
]

# Specs decode logits without torch, which the modules need.
__getattr__ = lazy_names(__name__, {"Head": "manyheads.heads.module", "HeadCollection": "manyheads.heads.collection"})
