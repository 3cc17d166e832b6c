"""Who computes the answers of parts: this process, or the workers of a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pyarrow as pa
import torch

from manyheads.inference.scorer import Scorer
from manyheads.runtime.threads import threads
from manyheads.scoring.manifest import Manifest
from manyheads.scoring.plan import Part
from manyheads.scoring.row_answers import AnswerSettings

PartRows = Iterator[tuple[Part, pa.Table]]
# Parts with their rows, to the same parts with their answers, in the same order.
Answer = Callable[[PartRows], PartRows]


class Engine(ABC):
    """Computes the answers of parts."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """The threads of torch that a run is begun with."""

    @property
    @abstractmethod
    def uses_gpu(self) -> bool:
        """Whether the backbone runs on a GPU."""

    @abstractmethod
    def started(self, settings: AnswerSettings, manifest: Manifest) -> AbstractContextManager[Answer]:
        """Return a context that yields a function from parts with rows to parts with answers.

        Args:
            settings: How rows are answered.
            manifest: The run, with the fingerprint of its model and the number of threads.
        """


class ThisProcess(Engine):
    """Computes answers here, part after part.

    Args:
        scorer: Answers texts; without a cache.
        device: Where the model is.
    """

    def __init__(self, scorer: Scorer, device: torch.device) -> None:
        self._scorer = scorer
        self._device = device

    @property
    def threads(self) -> int:
        """Those of this process."""
        return torch.get_num_threads()

    @property
    def uses_gpu(self) -> bool:
        """Whether the model was loaded to one."""
        return self._device.type == "cuda"

    @contextmanager
    def started(self, settings: AnswerSettings, manifest: Manifest) -> Iterator[Answer]:
        """Yield a function that answers parts; see ``Engine``."""
        answers = settings.answers(self._scorer)
        with threads(manifest.machine["threads"]):
            yield lambda parts: ((part, answers(rows)) for part, rows in parts)
