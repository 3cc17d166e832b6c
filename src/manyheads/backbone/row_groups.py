"""Which rows of a batch a backbone may compute together.

In most architectures the states of a row do not depend on the other rows. In some they do: padding of longer rows takes
part in convolutions or Fourier transforms, or the length of the batch selects an algorithm. Such a backbone computes
rows of equal length together, or one row at a time, so that a text has the same states alone and in any batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from manyheads.errors import BackboneError, one_line

# Tokens of the rows that are compared: one much longer than the other, and neither a power of two.
_SHORT, _LONG = 5, 41
# A row moves if its states change by more than this fraction of their standard deviation; half precision rounds more.
_MOVES, _MOVES_IN_HALF = 1e-3, 0.1

# Rotary embeddings whose frequencies depend on the longest row of a batch.
_LENGTH_DEPENDENT = frozenset({"dynamic", "longrope"})

# Runs token ids (rows, tokens) with a mask, and returns the last hidden states (rows, tokens, width).
Run = Callable[[Tensor, Tensor], Tensor]


class RowGroups(ABC):
    """A partition of a batch's rows.

    Attributes:
        name: The rows that are computed together, in words.
        note: A sentence for the user, without the model's name; empty if all rows are computed together.
    """

    name: ClassVar[str]
    note: ClassVar[str] = ""

    @abstractmethod
    def of(self, lengths: Tensor) -> list[Tensor]:
        """Return the groups for rows of these lengths (rows,), as row numbers."""


class AllRows(RowGroups):
    """All rows together, padded."""

    name = "all rows"

    def of(self, lengths: Tensor) -> list[Tensor]:
        """Return one group."""
        return [torch.arange(len(lengths))]


class EqualLengths(RowGroups):
    """Rows of equal length, without padding."""

    name = "rows of equal length"
    note = "padding changes its states, so only texts of equal length are computed together, which is slower"

    def of(self, lengths: Tensor) -> list[Tensor]:
        """Return one group for each length."""
        return [torch.nonzero(lengths == length).flatten() for length in torch.unique(lengths)]


class SingleRows(RowGroups):
    """One row at a time."""

    name = "single rows"
    note = "other texts of a batch change its states, so texts are computed one at a time, which is slower"

    def of(self, lengths: Tensor) -> list[Tensor]:
        """Return one group for each row."""
        return list(torch.arange(len(lengths)).unsqueeze(1))


@dataclass(frozen=True)
class EqualLengthsAbove(RowGroups):
    """Rows of up to ``tokens`` tokens together; longer ones only with rows of the same length.

    Attributes:
        tokens: The largest length that may be padded.
    """

    tokens: int
    name = "rows of equal length beyond the pretraining context"

    def of(self, lengths: Tensor) -> list[Tensor]:
        """Return one group of all short rows, and one for each greater length."""
        return EqualLengths().of(lengths.masked_fill(lengths <= self.tokens, 0))


def stricter(groups: RowGroups, replaces_modules: bool, threshold: int | None) -> RowGroups:
    """Return groups that also hold for rows longer than those of the comparison.

    Args:
        groups: The groups that were observed.
        replaces_modules: Whether a short text makes the stack replace modules, which a long row of the batch prevents.
        threshold: The length above which a row changes all rows of its batch, or ``None``.
    """
    if not isinstance(groups, AllRows):
        return groups
    if replaces_modules:
        return EqualLengths()
    return groups if threshold is None else EqualLengthsAbove(threshold)


def length_threshold(stack: nn.Module) -> int | None:
    """Return the length above which a row changes the rotary embeddings of its whole batch, or ``None``."""
    config: Any = getattr(stack, "config", None)
    settings = [found for found in _dictionaries(config) if found.get("rope_type") in _LENGTH_DEPENDENT]
    if not settings:
        return None
    names = ("original_max_position_embeddings", "max_position_embeddings")
    fallback = next((value for name in names if (value := getattr(config, name, None))), 0)
    return min(int(found.get(names[0]) or fallback) for found in settings)


def _dictionaries(config: object) -> Iterator[dict[str, Any]]:
    """Yield the dictionaries in a config's fields, and those in them."""
    pending = [value for value in getattr(config, "__dict__", {}).values() if isinstance(value, dict)]
    while pending:
        found = pending.pop()
        pending += [value for value in found.values() if isinstance(value, dict)]
        yield found


def observe_row_groups(run: Run, vocabulary: int, limit: int | None, device: torch.device, name: str) -> RowGroups:
    """Compare a short row alone with the same row beside others, in two to five small forward passes.

    Args:
        run: Runs the stack.
        vocabulary: Number of token ids.
        limit: Most tokens per row, or ``None``.
        device: The device to run on.
        name: The model's class, for messages.

    Raises:
        BackboneError: the stack cannot run a short row, or gives other states when it runs one again.
    """
    long = min(_LONG, limit or _LONG)
    ids = (torch.arange(2 * long, device=device).reshape(2, long) * 7 + vocabulary // 3) % vocabulary
    mask = torch.ones_like(ids)
    mask[0, _SHORT:] = 0
    short = ids[:1, :_SHORT]
    full, ones = ids[1:], torch.ones_like(ids[1:])
    try:
        alone, long_alone = run(short, torch.ones_like(short)), run(full, ones)
    except Exception as error:
        raise BackboneError(f"{name}: cannot run texts of {_SHORT} and {long} tokens: {one_line(error)}") from error
    if not bool(torch.isfinite(alone).all() and torch.isfinite(long_alone).all()):
        return AllRows()  # an overflow is an error of the texts that are read, not of heads that are added
    if not stays(run, full, ones, long_alone):  # Reformer draws its hashes at random for long rows
        raise BackboneError(f"{name}: gives different states for the same text each time, so no head can read it")
    if stays(run, ids.masked_fill(mask == 0, 0), mask, alone):
        return AllRows()
    if stays(run, ids[:, :_SHORT], torch.ones_like(ids[:, :_SHORT]), alone):
        return EqualLengths()
    if stays(run, short, torch.ones_like(short), alone):
        return SingleRows()
    raise BackboneError(f"{name}: gives different states for the same text each time, so no head can read it")


def not_finite(name: str, what: str, dtype: torch.dtype) -> str:
    """Return a message on values that are not finite."""
    precision = str(dtype).removeprefix("torch.")
    step = "check its weights" if dtype is torch.float32 else "load it with dtype='float32'"
    return f"{name}: {what} are not finite in {precision}; {step}"


def stays(run: Run, ids: Tensor, mask: Tensor, alone: Tensor) -> bool:
    """Return whether the first row of a batch has the states that it has alone.

    Args:
        run: Runs the stack.
        ids: Token ids (rows, tokens), right-padded.
        mask: (rows, tokens).
        alone: The states of the first row alone (1, tokens, width).
    """
    try:
        states = run(ids, mask)[:1, : alone.shape[1]].float()
    except Exception:  # an architecture may not accept padding, or several rows; then they are not run so
        return False
    tolerance = _MOVES if alone.dtype in (torch.float32, torch.float64) else _MOVES_IN_HALF
    return bool(((states - alone.float()).abs() <= tolerance * alone.float().std()).all())
