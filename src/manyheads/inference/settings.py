"""How texts are scored, whichever way they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyheads.data.texts.tokenize import LONG_TEXT
from manyheads.errors import InputError, listed
from manyheads.heads.windows import POOLINGS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ScoringSettings:
    """How texts are scored.

    Attributes:
        max_length: Maximum tokens per text; the backbone's limit by default.
        long_text: What becomes of a text beyond the limit: ``"truncate"``, ``"error"``, or the pooling of its windows,
            ``"mean"`` or ``"max"``.
        dtype: Precision of the backbone's pass: ``"auto"`` for the one that each head was trained in, or a torch dtype
            or its name.
        batch_tokens: Tokens per batch, padding included; ``"auto"`` measures the fastest number in the first long pass.

    Raises:
        InputError: another value.
    """

    max_length: int | None = None
    long_text: str = "truncate"
    dtype: torch.dtype | str = "auto"
    batch_tokens: int | str = "auto"

    def __post_init__(self) -> None:
        allowed = (*LONG_TEXT, *POOLINGS)
        if self.long_text not in allowed:
            raise InputError(f"long_text must be one of {listed(allowed)}, got {self.long_text!r}")
        if self.dtype != "auto":
            _check_dtype(self.dtype)
        tokens = self.batch_tokens
        if tokens != "auto" and (isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1):
            raise InputError(f"batch_tokens must be 'auto' or a positive whole number, got {tokens!r}")

    @property
    def precision(self) -> torch.dtype | None:
        """The precision of every head, or ``None`` for the one that each was trained in."""
        if self.dtype == "auto":
            return None
        from manyheads.features.precision import DTYPES

        return DTYPES[self.dtype] if isinstance(self.dtype, str) else self.dtype

    @property
    def token_budget(self) -> int | None:
        """Tokens per batch, or ``None`` to measure."""
        return self.batch_tokens if isinstance(self.batch_tokens, int) else None


def _check_dtype(dtype: object) -> None:
    from manyheads.features.precision import DTYPES  # graphs are run with these settings too, and without torch

    if dtype not in [*DTYPES, *DTYPES.values()]:
        raise InputError(f"dtype must be 'auto' or one of {listed(DTYPES)}, got {dtype!r}")
