"""Head kinds: each a frozen spec (plain JSON) with its loss and its decoding, in a file of its own."""

from manyheads.heads.base import HeadSpec, LossTerms, read_spec, write_spec
from manyheads.heads.collection import HeadCollection
from manyheads.heads.labelled import LabelledSpec
from manyheads.heads.module import Head
from manyheads.heads.multiclass import Multiclass
from manyheads.heads.multilabel import MultiLabel
from manyheads.heads.one_label import OneLabelSpec
from manyheads.heads.ordinal import Ordinal
from manyheads.heads.ragged import Ragged
from manyheads.heads.regression import Regression
from manyheads.heads.tokens import Tokens

__all__ = [
    "Head",
    "HeadCollection",
    "HeadSpec",
    "LabelledSpec",
    "LossTerms",
    "MultiLabel",
    "Multiclass",
    "OneLabelSpec",
    "Ordinal",
    "Ragged",
    "Regression",
    "Tokens",
    "read_spec",
    "write_spec",
]
