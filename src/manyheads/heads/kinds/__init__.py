"""The head kinds, one per file, and the table of them that files, the command line and tests read."""

from manyheads.heads.base import HeadSpec
from manyheads.heads.kinds.count import Count
from manyheads.heads.kinds.multiclass import Multiclass
from manyheads.heads.kinds.multilabel import MultiLabel
from manyheads.heads.kinds.ordinal import Ordinal
from manyheads.heads.kinds.regression import Regression
from manyheads.heads.kinds.tokens import Tokens

KINDS: dict[str, type[HeadSpec]] = {
    spec.kind: spec for spec in (Multiclass, MultiLabel, Ordinal, Regression, Count, Tokens)
}

__all__ = ["KINDS", "Count", "MultiLabel", "Multiclass", "Ordinal", "Regression", "Tokens"]
