"""The contract of a training method: a small object with its own settings only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from manyheads.core import HeadedCore
from manyheads.heads import Head, Logits
from manyheads.training.auto.candidate import Candidate
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import FitResult


@dataclass(frozen=True)
class Outcome:
    """The result of a method, besides the trained heads.

    Attributes:
        fits: Head name -> its fit.
        logits: Head name -> fp32 logits of the evaluation rows, word by word for token heads.
        perplexity: Perplexity of the language model on the evaluation texts, before and after, if the method may change
            it.
        notes: Sentences for the user.
        record: Further facts as plain JSON, to be saved with each head.
        candidates: The methods that were compared, if several were.
    """

    fits: Mapping[str, FitResult]
    logits: Mapping[str, Logits]
    perplexity: tuple[float | None, float | None] = (None, None)
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()


class Method(ABC):
    """A way to train heads.

    Attributes:
        several_processes: Whether it distributes its work across processes.
    """

    several_processes: ClassVar[bool] = False

    @property
    def other_texts(self) -> object:
        """Further training texts without labels, as a table or a list of strings; ``None`` for none."""
        return None

    @property
    def chooses_by_evaluation(self) -> bool:
        """Whether the evaluation rows choose anything, such as an epoch."""
        return False

    def changing(self, core: HeadedCore) -> Iterable[Tensor]:
        """Return the backbone's own tensors that training changes."""
        return ()

    def for_parts(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Method:
        """Return the method for several trainings on parts of the same rows, which compute once what they share.

        Args:
            core: The backbone and all heads.
            heads: The heads to train.
            data: All rows; the parts differ in ``train`` and ``evaluate``.
        """
        return self

    @abstractmethod
    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Train the heads in place; if it fails or is interrupted, they are unchanged."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings as plain JSON."""

    def tidy(self) -> None:
        """Delete checkpoints, after the model is saved."""
        return
