"""The feature cache on disk: the backbone's features of texts, found by content.

A *store* is a folder for one backbone, tap and precision. It holds *segments*: safetensors files with the features of
some texts, keyed by the hash of their token ids. A segment is written beside, then renamed to the hash of its bytes, so
that it is complete or absent, however the process ends. Two processes that write at the same time add a segment each.
A segment whose bytes do not match its name is deleted and computed again. No text is stored, only vectors.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from manyheads.errors import CacheError, CacheWarning, one_line
from manyheads.features.table import Piece
from manyheads.runtime.files import atomic_write, temporary_files
from manyheads.runtime.hashes import file_digest

FOLDER_VARIABLE = "MANYHEADS_CACHE"
LIMIT_VARIABLE = "MANYHEADS_CACHE_GB"
_DEFAULT_GIGABYTES = 10.0
_DESCRIPTION = "store.json"
_SUFFIX = ".safetensors"
_KEY_BYTES = 16
# Seconds after which nobody is still writing a part.
_ABANDONED = 86_400


@dataclass(frozen=True)
class Entry:
    """A description of a store, for users.

    Attributes:
        description: The key of the features, as passed to ``FeatureCache.store``.
        rows: Number of texts.
        size_bytes: Size in bytes.
        used: When it was last read or written, in seconds since the epoch.
        folder: Where it lies.
    """

    description: Mapping[str, object]
    rows: int
    size_bytes: int
    used: float
    folder: Path


@dataclass(frozen=True)
class Hit:
    """Features of some of the requested texts, from one segment.

    Attributes:
        requested: Their positions in the request.
        places: Their positions in the piece.
        piece: The features, mapped from disk.
    """

    requested: np.ndarray
    places: np.ndarray
    piece: Piece


@dataclass(frozen=True)
class FeatureCache:
    """A folder of stores with a limit to its size.

    Attributes:
        folder: Made when first written to, readable by its owner alone.
        limit: Bytes; whatever was not used for the longest time goes first.
    """

    folder: Path
    limit: int

    def store(self, description: Mapping[str, object]) -> Store:
        """Return the store for a description of everything on which the features depend."""
        text = json.dumps(description, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        return Store(self, self.folder / name, description)

    def entries(self) -> list[Entry]:
        """Return every store, the last used first."""
        found = [_entry(path.parent) for path in self.folder.glob(f"*/{_DESCRIPTION}")]
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Delete every store and return the number of bytes freed. A running process can still read its open files."""
        freed = 0
        for entry in self.entries():
            shutil.rmtree(entry.folder, ignore_errors=True)
            freed += entry.size_bytes
        return freed

    def shrink(self) -> None:
        """Delete the segments that were not used for the longest time until the limit is kept, and what killed writers
        left."""
        for status, path in _sized(part for folder in self.folder.glob("*") for part in temporary_files(folder)):
            if time.time() - status.st_mtime > _ABANDONED:
                with suppress(OSError):
                    path.unlink()
        segments = [(status, path) for status, path in _sized(self.folder.glob(f"*/*{_SUFFIX}"))]
        excess = sum(status.st_size for status, _ in segments) - self.limit
        for status, path in sorted(segments, key=lambda item: item[0].st_mtime):
            if excess <= 0:
                return
            with suppress(OSError):
                path.unlink()
                excess -= status.st_size


@dataclass(frozen=True)
class Store:
    """Features of one backbone, tap and precision.

    Attributes:
        cache: Whose it is.
        folder: Where its segments lie; there may be none yet.
        description: Everything on which the features depend, but for the token ids.
    """

    cache: FeatureCache
    folder: Path
    description: Mapping[str, object]

    @property
    def used(self) -> bool:
        """Whether it holds any features."""
        return any(self.folder.glob(f"*{_SUFFIX}"))

    def find(self, keys: np.ndarray) -> Iterator[Hit]:
        """Yield the features of those texts that are here, each text once.

        Args:
            keys: (texts,) of ``features.keys.row_keys``, all different.
        """
        wanted = np.arange(len(keys))
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if not len(wanted):
                return
            held = _keys_of(path)
            hits, places = _matched(keys[wanted], held)
            piece = _mapped(path) if len(hits) else None
            if piece is not None:
                yield Hit(wanted[hits], places, piece)
                wanted = np.delete(wanted, hits)

    def keep(self, keys: np.ndarray, piece: Piece) -> Piece:
        """Write a segment, and return its piece mapped from disk; the piece itself where the disk takes no more."""
        tensors = {"keys": torch.from_numpy(keys.view(np.uint8).reshape(-1, _KEY_BYTES)), "values": piece.values}
        if piece.offsets is not None:
            tensors["offsets"] = piece.offsets
        content = save(tensors)
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
        try:
            self._describe()
            atomic_write(path, content)
            self.cache.shrink()
        except OSError as error:
            warnings.warn(f"Feature cache {self.folder}: {one_line(error)}; going on without", CacheWarning, 2)
            return piece
        try:
            return _read(path)
        except (SafetensorError, OSError):  # the limit, or another process, took it away again
            return piece

    def _describe(self) -> None:
        if not (self.folder / _DESCRIPTION).is_file():
            self.cache.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(exist_ok=True)
            atomic_write(self.folder / _DESCRIPTION, json.dumps(self.description, indent=1))


def open_cache(cache: str | Path | None) -> FeatureCache | None:
    """Return the cache that a user named: ``"auto"`` for their own, a folder, or ``None`` for none.

    The user's own lies at ``MANYHEADS_CACHE``, or in ``XDG_CACHE_HOME`` or ``~/.cache`` under ``manyheads/features``;
    it holds up to ``MANYHEADS_CACHE_GB`` gigabytes, 10 by default.

    Raises:
        CacheError: a path that is no folder, or a limit that is no number.
    """
    if cache is None:
        return None
    folder = Path(cache).expanduser() if cache != "auto" else _own_folder()
    if folder.exists() and not folder.is_dir():
        raise CacheError(f"Feature cache {folder}: is not a folder; name another, or pass cache=None")
    return FeatureCache(folder, _limit())


def _own_folder() -> Path:
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "manyheads" / "features"


def _limit() -> int:
    given = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gigabytes = float(given) if given else _DEFAULT_GIGABYTES
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise CacheError(f"{LIMIT_VARIABLE} must be a number of gigabytes, got {given!r}")
    return int(gigabytes * 1e9)


def _keys_of(path: Path) -> np.ndarray:
    try:
        with safe_open(path, "np") as file:
            return np.ascontiguousarray(file.get_tensor("keys")).view(f"S{_KEY_BYTES}").reshape(-1)
    except FileNotFoundError:
        pass
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # the last two: no numpy dtype
        _discard(path, one_line(error))
    return np.empty(0, dtype=f"S{_KEY_BYTES}")


def _matched(asked: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the requested keys are stored, and where."""
    if not len(held):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    order = np.argsort(held)
    near = order[np.searchsorted(held, asked, sorter=order).clip(max=len(held) - 1)]
    hits = np.flatnonzero(held[near] == asked)
    return hits, near[hits]


def _mapped(path: Path) -> Piece | None:
    """Return a segment if its bytes match the digest in its name, else ``None``."""
    try:
        if file_digest(path) != path.stem:
            _discard(path, "its bytes changed")
            return None
        with suppress(OSError):  # a cache that may only be read is a cache all the same
            os.utime(path)
        return _read(path)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        _discard(path, one_line(error))
        return None


def _read(path: Path) -> Piece:
    with safe_open(path, "pt") as file:
        offsets = file.get_tensor("offsets").clone() if "offsets" in file.keys() else None  # noqa: SIM118
        return Piece(file.get_tensor("values"), offsets)


def _discard(path: Path, reason: str) -> None:
    warnings.warn(f"Feature cache {path}: damaged ({reason}); its features are computed again", CacheWarning, 2)
    with suppress(OSError):
        path.unlink()


def _sized(paths: Iterator[Path]) -> Iterator[tuple[os.stat_result, Path]]:
    for path in paths:
        with suppress(OSError):
            yield path.stat(), path


def _entry(folder: Path) -> Entry:
    segments = list(_sized(folder.glob(f"*{_SUFFIX}")))
    rows = sum(len(_keys_of(path)) for _, path in segments)
    size_bytes = sum(status.st_size for status, _ in segments)
    used = max((status.st_mtime for status, _ in segments), default=folder.stat().st_mtime)
    try:
        description = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
    except (OSError, ValueError):
        description = {}
    return Entry(description, rows, size_bytes, used, folder)
