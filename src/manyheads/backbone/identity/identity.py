"""The origin of a backbone's weights, and the changes since they were loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from manyheads.backbone.identity.digest import tensors_digest
from manyheads.backbone.identity.source import Source


@dataclass(frozen=True)
class Origin:
    """The checkpoint that weights come from, through any number of saves and loads.

    Attributes:
        hub_id: Its hub id; ``None`` for a folder, or for a model object made in memory.
        changed: Whether the weights or tokens differ from it; ``None`` for a model object made in memory.
    """

    hub_id: str | None
    changed: bool | None


@dataclass(frozen=True)
class Provenance:
    """The origin of a backbone's weights.

    Attributes:
        source: The checkpoint they were loaded from, or ``None`` for a model object made in memory.
        loaded_digest: Digest of the tensors in the source's files, or ``None`` if those no longer match the tokenizer.
        dtype_chosen: Whether the caller chose the precision, rather than the checkpoint.
        new_tokens: Number of tokens added since loading.
        source_origin: The origin of the source's weights, if the source is a saved model that names it.
    """

    source: Source | None = None
    loaded_digest: str | None = None
    dtype_chosen: bool = False
    new_tokens: int = 0
    source_origin: Origin | None = None

    @classmethod
    def loaded(cls, model: nn.Module, source: Source, dtype_chosen: bool = False) -> Provenance:
        """Return the provenance of a model that was just loaded from a source."""
        return cls(source, tensors_digest(model), dtype_chosen)

    def in_files(self, digest: str) -> bool:
        """Return whether the tensors with this digest equal the source's files bit for bit."""
        return self.source is not None and self.loaded_digest == digest

    def fingerprint(self, digest: str) -> str:
        """Return the identity that heads are bound to: the hash of the source's files, or the digest if they differ."""
        if self.source is not None and self.in_files(digest):
            return self.source.fingerprint
        return "tensors:" + digest

    def origin(self, digest: str) -> Origin:
        """Return the origin of the tensors with this digest."""
        if self.source is None:
            return Origin(None, None)
        before = self.source_origin or Origin(self.source.hub_id, False)
        return Origin(before.hub_id, before.changed if self.in_files(digest) or before.changed is None else True)

    def saved_to(self, source: Source, digest: str) -> Provenance:
        """Return the provenance after the tensors with this digest were written to the source's files."""
        return replace(self, source=source, loaded_digest=digest, source_origin=self.origin(digest))

    def with_new_tokens(self, count: int) -> Provenance:
        """Return the provenance after tokens were added: the source's files no longer match the tokenizer."""
        return replace(self, new_tokens=self.new_tokens + count, loaded_digest=None)
