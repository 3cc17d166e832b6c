"""Predictions as arrays: one array per head, objects built only for what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from manyheads.errors import UnknownHeadError, did_you_mean, listed
from manyheads.heads import HeadSpec, LabelledSpec, Regression
from manyheads.heads.base import Column
from manyheads.types import Prediction

Value = TypeVar("Value")


class ByHead(Mapping[str, Value]):
    """A mapping from head names to values that are made when asked for."""

    def __init__(self, names: Sequence[str], make: Callable[[str], Value]) -> None:
        self._names = tuple(names)
        self._make = make

    def __getitem__(self, name: str) -> Value:
        if name not in self._names:
            raise UnknownHeadError(f"No predictions of {name!r}{did_you_mean(name, self)} There are: {listed(self)}")
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


class Predictions(Sequence[Mapping[str, Prediction]]):
    """What heads say of texts: ``predictions[row][head]``, or whole arrays.

    Attributes:
        logits: Head name -> fp32 (rows, outputs).
        empty: (rows,) booleans: the text held nothing, so its prediction says little.
        truncated: (rows,) booleans: the text was cut to the backbone's limit.
    """

    def __init__(
        self,
        specs: Mapping[str, HeadSpec],
        logits: Mapping[str, np.ndarray],
        empty: np.ndarray,
        truncated: np.ndarray,
    ) -> None:
        self._specs = specs
        self._scores: dict[str, np.ndarray] = {}
        self.logits = logits
        self.empty = empty
        self.truncated = truncated

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads' names."""
        return tuple(self._specs)

    @property
    def scores(self) -> Mapping[str, np.ndarray]:
        """Head name -> probabilities (rows, labels), for every head with labels."""
        return ByHead([name for name, spec in self._specs.items() if isinstance(spec, LabelledSpec)], self._scored)

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        """Head name -> numbers (rows,), for every regression head."""
        names = [name for name, spec in self._specs.items() if isinstance(spec, Regression)]
        return ByHead(names, lambda name: self._scored(name)[:, 0])

    def __len__(self) -> int:
        return len(self.empty)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Prediction]: ...

    @overload
    def __getitem__(self, index: slice) -> Predictions: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Prediction] | Predictions:
        if isinstance(index, slice):
            logits = {name: values[index] for name, values in self.logits.items()}
            return Predictions(self._specs, logits, self.empty[index], self.truncated[index])
        row = range(len(self))[index]
        return ByHead(self.heads, lambda name: self._specs[name].prediction(self._scored(name)[row]))

    def __repr__(self) -> str:
        return f"Predictions({len(self)} rows, heads {listed(self.heads)})"

    def columns(self, all_scores: bool = False) -> dict[str, Column]:
        """Return the columns that a scored table gets; see DESIGN: ``{head}_label``, ``{head}_score`` and so on."""
        columns: dict[str, Column] = {}
        for name, spec in self._specs.items():
            columns |= spec.table_columns(name, self._scored(name), all_scores)
        return columns

    def to_arrow(self, all_scores: bool = False) -> Any:
        """Return a ``pyarrow.Table`` of :meth:`columns`."""
        import pyarrow as pa

        return pa.table({name: _arrow(values) for name, values in self.columns(all_scores).items()})

    def to_pandas(self, all_scores: bool = False) -> Any:
        """Return a ``pandas.DataFrame`` of :meth:`columns`."""
        return self.to_arrow(all_scores).to_pandas()

    def _scored(self, name: str) -> np.ndarray:
        if name not in self._scores:
            self._scores[name] = self._specs[name].scores(self.logits[name])
        return self._scores[name]


def _arrow(values: Column) -> Any:
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        return pa.array(np.ascontiguousarray(values))
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Labels of several types have no column type in common but text.
        texts = [[str(item) for item in value] if isinstance(value, list) else str(value) for value in values]
        return pa.array(texts)
