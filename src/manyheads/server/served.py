"""The model that answers, and the exchange of one for a newer one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

from manyheads.core import HeadedCore
from manyheads.data.batching import TOKEN_BUDGET
from manyheads.errors import BackboneError, CheckpointError, HeadError
from manyheads.inference import Scorer, ScoringSettings
from manyheads.scoring.fingerprint import model_fingerprint
from manyheads.types import Tokenizer

Opened = tuple[HeadedCore, Tokenizer | None]


@dataclass(frozen=True, eq=False)
class Served:
    """A model that answers requests. Replaced as a whole, never changed.

    Attributes:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        scorer: Answers texts with the heads.
        fingerprint: What identifies its answers: a digest of weights, tokenizer, heads and decisions.
        since: Seconds since the epoch at which it was loaded.
    """

    core: HeadedCore
    tokenizer: Tokenizer
    scorer: Scorer
    fingerprint: str
    since: float = field(default_factory=time.time)

    @staticmethod
    def of(core: HeadedCore, tokenizer: Tokenizer | None) -> Served:
        """Return a model ready to answer: its weights are converted and a first text is predicted.

        Raises:
            BackboneError: there is no tokenizer.
            HeadError: there is no head and no language model.
        """
        if tokenizer is None:
            raise BackboneError(f"{core.backbone.name}: has no tokenizer to serve texts with; save the model with one")
        if not core.heads and not core.backbone.generates:
            raise HeadError(f"{core.backbone.name}: has neither heads nor a language model to serve; train a head")
        # A measured batch size would make the last bits of answers depend on a clock.
        scorer = Scorer(core, tokenizer, ScoringSettings(batch_tokens=core.backbone.token_budget or TOKEN_BUDGET))
        facts = model_fingerprint(core, tokenizer, list(core.heads))
        digest = sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return Served(core, tokenizer, scorer, digest)

    def pausing(self, pause: Callable[[], None]) -> Served:
        """Return the same model with a scorer that calls a function before each batch; it may raise to stop."""
        return replace(self, scorer=self.scorer.pausing(pause))


class Serving:
    """Holds the model that answers now; a newer one takes its place between two batches.

    Args:
        open_model: Opens the model; called again to reload it, or ``None`` if it cannot be.
        served: The model that answers first.
    """

    def __init__(self, served: Served, open_model: Callable[[], Opened] | None = None) -> None:
        self._current = served
        self._open_model = open_model
        self._reloading = threading.Lock()

    @property
    def current(self) -> Served:
        """The model that answers now. A batch takes it once, so that no answer mixes two models."""
        return self._current

    def reload(self) -> Served:
        """Open the model again and let it answer from now on; an error leaves the old one in place.

        Raises:
            CheckpointError: the model was given as an object, or it cannot be opened.
        """
        if self._open_model is None:
            raise CheckpointError("The served model was given as an object; serve a folder to reload it")
        with self._reloading:
            self._current = Served.of(*self._open_model())
        return self._current
