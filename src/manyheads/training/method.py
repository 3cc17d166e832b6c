"""How to train: each method a small object that holds only its own settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from manyheads.core import HeadedCore
from manyheads.heads import Head, Logits
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import HeadFit


@dataclass(frozen=True)
class Outcome:
    """What a method leaves behind, besides trained heads.

    Attributes:
        fits: Head name -> how it was fitted.
        logits: Head name -> fp32 logits of the evaluation rows, word by word for token heads.
        perplexity: Of the language model on the evaluation texts, before and after, where the method may change it.
        notes: What a person should know, one sentence each.
    """

    fits: Mapping[str, HeadFit]
    logits: Mapping[str, Logits]
    perplexity: tuple[float | None, float | None] = (None, None)
    notes: tuple[str, ...] = ()


class Method(ABC):
    """How heads are trained.

    Attributes:
        several_processes: Whether it shares its work between processes.
    """

    several_processes: ClassVar[bool] = False

    @property
    def other_texts(self) -> object:
        """Texts without labels that the method trains on too: a table, or a list of strings; ``None`` for none."""
        return None

    @abstractmethod
    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Train the heads in place; if it fails or is interrupted, none of them has changed."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings, as plain JSON."""

    def tidy(self) -> None:
        """Delete what was kept in case the training would be killed: the model is safe."""
        return
