"""The contract of a tap, and its plain-JSON form.

A tap is anything that a head can read. A ``BackboneTap`` requests states of a pass of the backbone and turns them into
features; it does not depend on texts, training or files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from scipy.sparse import csr_array
from torch import Tensor, nn

from manyheads.errors import CorruptCheckpointError, HeadError, listed
from manyheads.types import BackboneFacts, Features, Request, States


@dataclass(frozen=True)
class Tap(ABC):
    """Anything that a head can read. Subclasses are frozen dataclasses of plain fields."""

    kind: ClassVar[str]
    _kinds: ClassVar[dict[str, type[Tap]]] = {}

    @property
    def by_word(self) -> bool:
        """Whether it reads one vector per word, not one per row."""
        return False

    def __init_subclass__(cls, for_heads: bool = True) -> None:
        if "kind" in vars(cls) and for_heads:
            Tap._kinds[cls.kind] = cls

    def __str__(self) -> str:
        fields_of_tap = {item.name: getattr(self, item.name) for item in fields(self)}
        shown = {name: value for name, value in fields_of_tap.items() if value is not None and value is not False}
        settings = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({settings})"

    @abstractmethod
    def resolve(self, facts: BackboneFacts) -> Tap:
        """Return this tap with every ``"auto"`` decided for a backbone.

        Raises:
            HeadError: the backbone does not have what the tap names.
        """

    def needs_pass(self, facts: BackboneFacts) -> bool:
        """Return whether the backbone has to run for this resolved tap."""
        return False

    @property
    def prepares(self) -> bool:
        """Whether its size or its reader depends on the training rows: see ``sized`` and ``Reader.prepare``."""
        return False

    @property
    def prepares_by_labels(self) -> bool:
        """Whether its reader depends on the labels of these rows too."""
        return False

    def sized(self, features: Features, facts: BackboneFacts) -> Tap:
        """Return this resolved tap with the size that it gets from the features of the training rows."""
        return self

    @abstractmethod
    def width(self, facts: BackboneFacts) -> int:
        """Return the size of the vector that a head receives from the reader, per row."""

    @abstractmethod
    def reader(self, facts: BackboneFacts) -> Reader:
        """Return the learned part, which each head owns: from features to one (rows, width) tensor."""


class BackboneTap(Tap):
    """Features of a pass of the backbone."""

    @abstractmethod
    def resolve(self, facts: BackboneFacts) -> BackboneTap:
        """Return this tap with every ``"auto"`` decided for a backbone.

        Raises:
            HeadError: the backbone does not have what the tap names.
        """

    @abstractmethod
    def request(self, facts: BackboneFacts) -> Request:
        """Return the states that a resolved tap needs from a pass."""

    @abstractmethod
    def read(self, states: States) -> Features:
        """Return a resolved tap's features of one pass."""

    @property
    def stored(self) -> BackboneTap:
        """The tap whose features are cached: this one, or another one from whose features this one's are computed."""
        return self

    def from_stored(self, features: Features) -> Features:
        """Return this resolved tap's features from those of ``stored``."""
        return features

    def needs_pass(self, facts: BackboneFacts) -> bool:
        """Return whether the backbone has to run for this resolved tap."""
        return not self.request(facts).empty


class Wrapper(BackboneTap):
    """A tap that reads another tap from a branch or under a prompt.

    Attributes:
        reads: The other tap.
    """

    reads: BackboneTap

    def reading(self, tap: BackboneTap) -> BackboneTap:
        """Return the same wrapper around another tap."""
        return replace(self, reads=tap)  # type: ignore[call-arg]

    def resolve(self, facts: BackboneFacts) -> BackboneTap:
        """Resolve the other tap."""
        return self.reading(self.reads.resolve(facts))

    @property
    def by_word(self) -> bool:
        """Whether the other tap does."""
        return self.reads.by_word

    @property
    def prepares(self) -> bool:
        """Whether the other tap does."""
        return self.reads.prepares

    @property
    def prepares_by_labels(self) -> bool:
        """Whether the other tap does."""
        return self.reads.prepares_by_labels

    @property
    def stored(self) -> BackboneTap:
        """The same wrapper around the other tap's ``stored``."""
        return self.reading(self.reads.stored)

    def from_stored(self, features: Features) -> Features:
        """Return the other tap's features from those of its ``stored``."""
        return self.reads.from_stored(features)

    def width(self, facts: BackboneFacts) -> int:
        """Return the other tap's."""
        return self.reads.width(facts)

    def reader(self, facts: BackboneFacts) -> Reader:
        """Return the other tap's."""
        return self.reads.reader(facts)


class Reader(nn.Module):
    """From features to one vector per row; this one returns them unchanged.

    Attributes:
        learns: Whether it has trainable parameters.
        passes: Whether it hands features on as they are, so that heads may share what they do with them.
    """

    learns: ClassVar[bool] = False
    passes: ClassVar[bool] = True

    @property
    def sparse(self) -> bool:
        """Whether ``matrix`` returns its output as a sparse matrix."""
        return False

    def matrix(self, features: Features) -> csr_array:
        """Return the output for all rows as a sparse fp32 matrix (rows, width), if it is sparse.

        Raises:
            NotImplementedError: it is not.
        """
        raise NotImplementedError

    def prepare(self, features: Features, target_scores: Tensor) -> None:
        """Set what depends on the training rows before a head is fitted.

        Args:
            features: Features of the labelled training rows.
            target_scores: Target scores of these rows (rows, scores), NaN where missing.
        """

    def forward(self, features: Features) -> Tensor:
        """Return (rows, width)."""
        return features.values

    def check(self) -> None:
        """Check loaded tensors that have the right shape but may have invalid values.

        Raises:
            HeadError: tensors that contradict each other.
        """


def request_of(taps: Iterable[BackboneTap], facts: BackboneFacts) -> Request:
    """Return what these resolved taps need, together, from one pass."""
    total = Request()
    for tap in taps:
        total = total | tap.request(facts)
    return total


def write_tap(tap: Tap) -> dict[str, object]:
    """Return a tap as a plain JSON object."""
    return {"tap": tap.kind, **{item.name: _plain(getattr(tap, item.name)) for item in fields(tap)}}


def _plain(value: object) -> object:
    if isinstance(value, Tap):
        return write_tap(value)
    return list(value) if isinstance(value, tuple) else value


def read_tap(record: Mapping[str, object]) -> Tap:
    """Build a tap from ``write_tap``'s object.

    Raises:
        CorruptCheckpointError: an unknown kind, or fields that the kind does not have.
    """
    kind = record.get("tap")
    found = Tap._kinds.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise CorruptCheckpointError(f"tap {kind!r} is not among the known ones: {listed(Tap._kinds)}")
    given: dict[str, Any] = {name: value for name, value in record.items() if name != "tap"}
    known = {item.name for item in fields(found)}
    if set(given) != known:
        raise CorruptCheckpointError(
            f"tap {kind!r} takes the fields {listed(sorted(known))}, got {listed(sorted(given))}"
        )
    inner = {name: read_tap(value) if isinstance(value, Mapping) else value for name, value in given.items()}
    try:
        return found(**inner)
    except (HeadError, TypeError) as error:
        raise CorruptCheckpointError(f"tap {kind!r}: {error}") from error
