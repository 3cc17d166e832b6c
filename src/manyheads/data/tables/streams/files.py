"""Files to read: on this machine, or at a URL that fsspec opens; decompressed on the way."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from manyheads.errors import DataError, MissingExtraError, one_line

_GZIP = ".gz"
# Bytes that are read at once.
_BUFFER = 1 << 20


class File(ABC):
    """A file that can be opened again and again.

    Attributes:
        name: Its path or URL, for messages.
    """

    name: str

    @property
    def ending(self) -> str:
        """Its ending in lower case, without that of a compressed file."""
        path = PurePosixPath(self.name)
        return PurePosixPath(path.stem).suffix.lower() if self._is_compressed else path.suffix.lower()

    @property
    @abstractmethod
    def identity(self) -> str:
        """A digest that changes when the file changes."""

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Yield the file, decompressed, at its start.

        Raises:
            DataError: it cannot be read.
        """
        try:
            with self._open() as raw:
                yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if self._is_compressed else raw
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.name}: cannot be read: {one_line(error)}; check the file and its access") from None

    @contextmanager
    def opened_anywhere(self) -> Iterator[BinaryIO]:
        """Yield the file, decompressed, for readers that jump about in it: a compressed one is unpacked first."""
        with self.opened() as file:
            if not self._is_compressed:
                yield file
                return
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(file, unpacked, _BUFFER)
                unpacked.seek(0)
                yield cast(BinaryIO, unpacked)

    @property
    def _is_compressed(self) -> bool:
        return self.name.lower().endswith(_GZIP)

    @abstractmethod
    def _open(self) -> Any: ...


@dataclass(frozen=True)
class LocalFile(File):
    """A file of this machine."""

    path: Path

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its path."""
        return str(self.path)

    @property
    def identity(self) -> str:
        """A digest of its size and time of change."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read: {one_line(error)}; check the file and its access") from None
        return digest_of(status.st_size, status.st_mtime_ns)

    def _open(self) -> Any:
        return self.path.open("rb", buffering=_BUFFER)


@dataclass(frozen=True)
class RemoteFile(File):
    """A file of a file system that fsspec reaches.

    Attributes:
        system: fsspec's file system.
        path: The path there.
        protocol: Such as ``"s3"``.
    """

    system: Any
    path: str
    protocol: str

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its URL."""
        if is_url(self.path):  # as web servers' file system has them
            return self.path
        return f"{self.protocol}://{self.path if self.protocol == 'file' else self.path.lstrip('/')}"

    @property
    def identity(self) -> str:
        """A digest of the properties that fsspec compares files by."""
        return digest_of(self.system.ukey(self.path))

    def _open(self) -> Any:
        return self.system.open(self.path, "rb")


def digest_of(*facts: object) -> str:
    """Return a short digest of some facts."""
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:32]


def is_url(path: str) -> bool:
    """Return whether a path names a file system of fsspec."""
    return "://" in path


def file_system(url: str) -> tuple[Any, str, str]:
    """Return fsspec's file system of a URL, the path in it, and the protocol.

    Raises:
        MissingExtraError: the package of that file system is not installed.
        DataError: an unknown protocol, or a system that cannot be reached.
    """
    protocol = url.split("://", 1)[0]
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"{url}: {one_line(error)}; install it with pip, or copy the files here") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{url}: cannot be opened: {one_line(error)}") from None
    return system, path, protocol
