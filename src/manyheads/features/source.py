"""Where features come from: what was read already, the cache, and only then a pass of the backbone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version

import numpy as np

from manyheads.backbone import Backbone
from manyheads.backbone.identity.config import IGNORED_CONFIG_KEYS
from manyheads.backbone.identity.digest import tensors_digest
from manyheads.core import HeadedCore
from manyheads.data.texts.tokenize import Tokenized
from manyheads.features.cache import FeatureCache, Store
from manyheads.features.extract import Pause, go_on, run_pass
from manyheads.features.keys import row_keys
from manyheads.features.table import DerivedTable, FeatureTable, IdTable, Piece, PieceTable
from manyheads.taps import BackboneTap, Branched, Tap, write_tap
from manyheads.types import Features

# Counts how features are computed: poolings, arrangement, precision. Another number, another cache entry.
_PROTOCOL = 1
# Size of the pieces of a pass; a killed pass loses at most one.
_PIECE_BYTES = 1 << 25


class FeatureSource:
    """The features of one set of texts, each text and tap computed at most once.

    Args:
        core: Whose backbone runs.
        tokenized: The texts.
        cache: Where features are kept between runs, or ``None``.
        identity: Everything but tap and text on which features depend; see ``identity_of``.
        batch_tokens: Tokens per batch, padding included; ``None`` for the fastest number.
        pause: Called before each batch; an error that it raises stops the pass.
    """

    def __init__(
        self,
        core: HeadedCore,
        tokenized: Tokenized,
        cache: FeatureCache | None = None,
        identity: Mapping[str, object] | None = None,
        batch_tokens: int | None = None,
        pause: Pause = go_on,
    ) -> None:
        self._core = core
        self._tokenized = tokenized
        self._cache = cache if identity is not None else None
        self._identity = identity
        self._batch_tokens = batch_tokens
        self._pause = pause
        # Features that are not per word are found by the text alone, whatever its words are.
        keys = {by_word: row_keys(tokenized, by_word) for by_word in (False, True)}
        ranks = [np.unique(keys[by_word], return_inverse=True)[1] for by_word in (False, True)]
        both = ranks[0].astype(np.int64) * max(len(tokenized), 1) + ranks[1]
        _, self._first, self._slots = np.unique(both, return_index=True, return_inverse=True)
        self._keys = {by_word: found[self._first] for by_word, found in keys.items()}
        self._tables: dict[BackboneTap, PieceTable] = {}

    def read(self, taps: Iterable[BackboneTap], rows: np.ndarray) -> dict[Tap, FeatureTable]:
        """Return one table per resolved tap, numbered like all texts, that holds at least these rows."""
        facts = self._core.backbone.facts
        kept = {tap: tap.stored for tap in taps}
        passing = [tap for tap in dict.fromkeys(kept.values()) if tap.needs_pass(facts)]
        slots = np.unique(self._slots[rows])
        missing = {tap: self._recalled(tap, slots) for tap in passing}
        wanted = [tap for tap in passing if len(missing[tap])]
        if wanted:
            everything = np.unique(np.concatenate([missing[tap] for tap in wanted]))
            self._pass(wanted, everything)
        ids = IdTable(self._tokenized)
        tables = {stored: self._tables.get(stored, ids) for stored in kept.values()}
        return {tap: tables[tap] if tap == own else DerivedTable(tap, tables[own]) for tap, own in kept.items()}

    def add(self, read: Mapping[BackboneTap, Features]) -> None:
        """Take features that another pass computed.

        Args:
            read: The features of all texts by ``stored`` tap, on the CPU.
        """
        for tap, features in read.items():
            table = self._tables.setdefault(tap, PieceTable(self._slots))
            table.add(self._slots, np.arange(len(self._slots)), Piece.joined([features]))

    def runs(self, core: HeadedCore) -> bool:
        """Return whether this core's backbone runs."""
        return self._core.backbone is core.backbone

    def without_cache(self, core: HeadedCore) -> FeatureSource:
        """Return a source of the same texts on another core."""
        return FeatureSource(core, self._tokenized, batch_tokens=self._batch_tokens, pause=self._pause)

    def by_content(self, rows: np.ndarray) -> np.ndarray:
        """Return the positions of ``rows`` in a pseudo-random order that depends on the contents only."""
        order: np.ndarray = np.argsort(self._slots[rows], kind="stable")
        return order

    def _recalled(self, tap: BackboneTap, slots: np.ndarray) -> np.ndarray:
        """Fill a tap's table from the cache, and return the texts that are still missing."""
        table = self._tables.setdefault(tap, PieceTable(self._slots))
        missing = table.missing(slots)
        store = self._store(tap) if len(missing) else None
        if store is not None:
            for found in store.find(self._keys[tap.by_word][missing]):
                table.add(missing[found.requested], found.places, found.piece)
        return table.missing(slots)

    def _store(self, tap: BackboneTap) -> Store | None:
        if self._cache is None or self._identity is None:
            return None
        return store_of(self._cache, self._identity, tap, self._core.backbone)

    def _pass(self, taps: list[BackboneTap], slots: np.ndarray) -> None:
        gathered = {tap: _Gathered(self._tables[tap], self._store(tap), self._keys[tap.by_word]) for tap in taps}

        def receive(rows: np.ndarray, read: Mapping[BackboneTap, Features]) -> None:
            for tap, features in read.items():
                gathered[tap].add(self._slots[rows], features)

        run_pass(self._core, self._tokenized, self._first[slots], taps, receive, self._batch_tokens, self._pause)
        for part in gathered.values():
            part.seal()


class BranchedSource:
    """Features of the backbone, run in whatever precision, and of its branches, which have the loaded precision.

    Args:
        core: The core as it was loaded, with its branches.
        running: Features of its backbone as it runs.
    """

    def __init__(self, core: HeadedCore, running: FeatureSource) -> None:
        self.running = running
        self._core = core

    def read(self, taps: Iterable[BackboneTap], rows: np.ndarray) -> dict[Tap, FeatureTable]:
        """Return one table per resolved tap, numbered like all texts, that holds at least these rows."""
        taps = list(taps)
        if self.running.runs(self._core):
            return self.running.read(taps, rows)
        branched = [tap for tap in taps if isinstance(tap, Branched)]
        tables = self.running.read([tap for tap in taps if not isinstance(tap, Branched)], rows)
        return tables | (self._branches.read(branched, rows) if branched else {})

    @cached_property
    def _branches(self) -> FeatureSource:
        return self.running.without_cache(self._core)


class _Gathered:
    """Batches of one tap on their way to becoming a piece."""

    def __init__(self, table: PieceTable, store: Store | None, keys: np.ndarray) -> None:
        self._table, self._store, self._keys = table, store, keys
        self._slots: list[np.ndarray] = []
        self._parts: list[Features] = []
        self._octets = 0

    def add(self, slots: np.ndarray, features: Features) -> None:
        self._slots.append(slots)
        self._parts.append(features)
        self._octets += features.values.numel() * features.values.element_size()
        if self._octets >= _PIECE_BYTES:
            self.seal()

    def seal(self) -> None:
        if not self._parts:
            return
        slots, piece = np.concatenate(self._slots), Piece.joined(self._parts)
        if self._store is not None:
            piece = self._store.keep(self._keys[slots], piece)
        self._table.add(slots, np.arange(len(slots)), piece)
        self._slots, self._parts, self._octets = [], [], 0


def store_of(cache: FeatureCache, identity: Mapping[str, object], tap: BackboneTap, backbone: Backbone) -> Store:
    """Return where a cache keeps what a tap reads; see ``identity_of``. Another tokenizer makes other prompts."""
    templates = backbone.templates(tap.request(backbone.facts))
    prompts = {"prompts": [asdict(template) for template in templates.values()]} if templates else {}
    return cache.store({**identity, "tap": write_tap(tap), **prompts})


def identity_of(backbone: Backbone, digest: str) -> dict[str, object]:
    """Return everything but tap and text on which a backbone's features depend: its weights as they were loaded (not
    their path), its settings, the precision in which it runs, and what runs it.

    Files are no key: loaded in bf16 and run in fp32, the same files give other features than loaded in fp32.

    Args:
        backbone: As it runs.
        digest: Of the loaded weights, from ``Backbone.digest``.
    """
    config = getattr(backbone.stack, "config", backbone.model.config)  # FSMT's encoder has none
    settings = {key: value for key, value in config.to_dict().items() if key not in _UNIMPORTANT}  # type: ignore[union-attr, operator]
    return {
        "protocol": _PROTOCOL,
        "backbone": backbone.name,
        "fingerprint": "tensors:" + digest,
        "pooler": None if backbone.pooler is None else tensors_digest(backbone.pooler),
        "config": hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest(),
        "precision": str(next(backbone.stack.parameters()).dtype).removeprefix("torch."),
        "attention": str(getattr(config, "_attn_implementation", None)),
        "device": backbone.device.type,
        "transformers": version("transformers"),
    }


# The class that loaded the weights does not affect the stack's features.
_UNIMPORTANT = IGNORED_CONFIG_KEYS | {"architectures"}
