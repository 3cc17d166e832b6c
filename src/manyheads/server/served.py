"""The model that answers, and the exchange of one for a newer one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256

from manyheads.core import HeadedCore
from manyheads.data.batching import TOKEN_BUDGET
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.errors import BackboneError, CheckpointError, HeadError, ManyheadsError
from manyheads.inference import Scorer, ScoringSettings
from manyheads.runtime.collecting import collect_all
from manyheads.runtime.progress import quietly
from manyheads.scoring.fingerprint import model_fingerprint
from manyheads.server.saved import SavedModel
from manyheads.types import Tokenizer


@dataclass(frozen=True, eq=False)
class Served:
    """A model that answers requests. Replaced as a whole, never changed.

    Attributes:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        scorer: Answers texts with the heads.
        fingerprint: What identifies its answers: a digest of weights, tokenizer, heads and decisions.
        name: What clients call it: the name of its folder, without the path, its hub id, or its backbone's class.
        since: Seconds since the epoch at which it was loaded.
    """

    core: HeadedCore
    tokenizer: Tokenizer
    scorer: Scorer
    fingerprint: str
    name: str
    since: float = field(default_factory=time.time)

    @staticmethod
    def of(core: HeadedCore, tokenizer: Tokenizer | None, name: str | None = None) -> Served:
        """Return a model ready to answer: its weights are converted and a first text is predicted.

        Args:
            core: Backbone and heads.
            tokenizer: The backbone's own.
            name: What clients call it; the class of its backbone by default.

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
        if core.heads:
            _warm(scorer)
        return Served(core, tokenizer, scorer, digest, name or core.backbone.name)

    def pausing(self, pause: Callable[[], None]) -> Served:
        """Return the same model with a scorer that calls a function before each batch; it may raise to stop."""
        return replace(self, scorer=self.scorer.pausing(pause))


def _warm(scorer: Scorer) -> None:
    """Predict a text, so that the first request is as fast as the others."""
    with quietly(), suppress(ManyheadsError):  # such as one that heads of pairs raise for a single text
        scorer(read_texts_from_list(["warm up"]))


class Serving:
    """Holds the model that answers now; a newer one takes its place between two batches.

    Args:
        served: The model that answers first.
        saved: Where it is saved, to be opened again, or ``None`` if it was given as an object.
    """

    def __init__(self, served: Served, saved: SavedModel | None = None) -> None:
        self._current = served
        self._saved = saved
        self._reloading = threading.Lock()

    @staticmethod
    def opened(saved: SavedModel) -> Serving:
        """Open a saved model.

        Raises:
            BackboneError: it has no tokenizer, or cannot be loaded.
            HeadError: it has neither heads nor a language model.
            CheckpointError: its heads cannot be loaded.
        """
        return Serving(Served.of(*saved.open(), saved.public_name), saved)

    @property
    def current(self) -> Served:
        """The model that answers now. A batch takes it once, so that no answer mixes two models."""
        return self._current

    def reload(self, turn: Callable[[], AbstractContextManager[None]]) -> Served:
        """Open the model again and let it answer from now on; an error leaves the old one in place.

        It is opened beside the requests, which the old model answers meanwhile. Transformers sets torch's default dtype
        while it builds a model, for all threads. A model that may not be float32 is therefore opened in a turn of the
        model, and requests wait for it: what the old one computes meanwhile could be in the other precision.

        Args:
            turn: Takes the model's turn for as long as its context lasts.

        Raises:
            CheckpointError: the model was given as an object, or it cannot be opened.
        """
        if self._saved is None:
            raise CheckpointError("The served model was given as an object; serve a folder to reload it")
        with self._reloading:
            with nullcontext() if self._saved.is_float32 else turn():
                opened = self._saved.open()
            self._current = Served.of(*opened, self._saved.public_name)
            collect_all()  # the old model's modules refer to each other
            return self._current
