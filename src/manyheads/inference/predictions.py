"""Predictions as arrays: one array per head; objects are built on access only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numpy as np

from manyheads.errors import InputError, UnknownHeadError, did_you_mean, listed
from manyheads.heads import NEUTRAL, Decision, HeadSpec, LabelledSpec, Logits
from manyheads.heads.base import Column
from manyheads.types import Prediction, Span

if TYPE_CHECKING:
    from manyheads.taps import Tap

Value = TypeVar("Value")


class ByHead(Mapping[str, Value]):
    """A mapping from head names to values that are computed on access."""

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
    """The predictions of all heads: ``predictions[row][head]``, or whole arrays.

    Attributes:
        logits: Head name -> fp32 (rows, outputs); for a token head, a sequence of (words, outputs), one per row. Those
            of a text in several windows are the logits of its pooled scores.
        words: For each row, the words that token heads label, as int64 (words, 2): the first character, and the one
            after the last. ``None`` without token heads. Words that were truncated or have no token are left out.
        empty: (rows,) booleans: the text was empty, so its prediction means little.
        truncated: (rows,) booleans: the text was truncated to the backbone's limit.
        windows: (rows,) int64: the number of windows in which the text was read, 1 unless ``long_text`` is ``"mean"``
            or ``"max"``.
        tokens: (rows,) int64: the number of tokens of the text that were read, special tokens included and prompts not.
        features: Tap -> fp32 (rows, width), for the taps that were asked for; ``Ragged`` with (tokens, width) per row
            if the tap reads every token.

    Examples:
        >>> predictions = trained.predict(texts)
        >>> len(predictions), predictions.logits["urgency"].shape
        (3, (3, 3))
    """

    def __init__(
        self,
        specs: Mapping[str, HeadSpec],
        logits: Mapping[str, Logits],
        empty: np.ndarray,
        truncated: np.ndarray,
        words: Sequence[np.ndarray] | None = None,
        decisions: Mapping[str, Decision] | None = None,
        features: Mapping[Tap, Any] | None = None,
        windows: np.ndarray | None = None,
        tokens: np.ndarray | None = None,
    ) -> None:
        self._specs = specs
        self._decisions = dict.fromkeys(specs, NEUTRAL) if decisions is None else decisions
        self._scores: dict[str, Any] = {}
        self._logits = logits
        self.logits: Mapping[str, Any] = {name: part.values for name, part in logits.items()}
        self.words = words
        self.empty = empty
        self.truncated = truncated
        self.windows = np.ones(len(empty), dtype=np.int64) if windows is None else windows
        self.tokens = np.zeros(len(empty), dtype=np.int64) if tokens is None else tokens
        self.features: Mapping[Tap, Any] = {} if features is None else features

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of the heads.

        Examples:
            >>> trained.predict(texts).heads
            ('urgency',)
        """
        return tuple(self._specs)

    @property
    def split(self) -> np.ndarray:
        """(rows,) booleans: the text was read in several windows.

        Examples:
            >>> trained.predict(["cough " * 100], long_text="mean").split
            array([ True])
        """
        split: np.ndarray = self.windows > 1
        return split

    @property
    def scores(self) -> Mapping[str, Any]:
        """Head name -> probabilities (rows, labels), for every head with labels; for a token head, a sequence of
        (words, tags), one per row.

        Examples:
            >>> trained.predict(texts).scores["urgency"].shape
            (3, 3)
        """
        return ByHead([name for name, spec in self._specs.items() if spec.has_labels], self._scored)

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        """Head name -> numbers (rows,), for every head that predicts numbers.

        Examples:
            >>> list(trained.predict(texts).values)
            []
        """
        names = [name for name, spec in self._specs.items() if spec.has_values]
        return ByHead(names, lambda name: self._scored(name)[:, 0])

    def __len__(self) -> int:
        return len(self.empty)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Prediction]: ...

    @overload
    def __getitem__(self, index: slice) -> Predictions: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Prediction] | Predictions:
        if isinstance(index, slice):
            logits = {name: part[index] for name, part in self._logits.items()}
            words = None if self.words is None else self.words[index]
            features = {tap: values[index] for tap, values in self.features.items()}
            empty, truncated = self.empty[index], self.truncated[index]
            windows, tokens = self.windows[index], self.tokens[index]
            return Predictions(self._specs, logits, empty, truncated, words, self._decisions, features, windows, tokens)
        row = range(len(self))[index]
        return ByHead(self.heads, lambda name: self._prediction(name, row))

    def __repr__(self) -> str:
        return f"Predictions({len(self)} rows, heads {listed(self.heads)})"

    def columns(self, all_scores: bool = False) -> dict[str, Column]:
        """Return the columns of a scored table: ``{head}_label``, ``{head}_score`` and so on.

        Args:
            all_scores: Whether to add one column per label.

        Examples:
            >>> list(trained.predict(texts).columns())
            ['urgency_label', 'urgency_score']
        """
        columns: dict[str, Column] = {}
        for name, spec in self._specs.items():
            columns |= spec.table_columns(
                name, self.logits[name], self._scored(name), self._decisions[name], all_scores
            )
            if spec.has_spans:
                rows: Any = columns[f"{name}_spans"]
                columns[f"{name}_spans"] = [self._in_characters(row, spans) for row, spans in enumerate(rows)]
        return columns

    def to_arrow(self, all_scores: bool = False) -> Any:
        """Return a ``pyarrow.Table`` of ``columns``.

        Examples:
            >>> trained.predict(texts).to_arrow().num_rows
            3
        """
        import pyarrow as pa

        types = {column: type_ for name, spec in self._specs.items() for column, type_ in _types(name, spec).items()}
        columns = self.columns(all_scores)
        return pa.table({name: _arrow(values, types.get(name)) for name, values in columns.items()})

    def to_pandas(self, all_scores: bool = False, texts: Sequence[object] | None = None) -> Any:
        """Return a ``pandas.DataFrame`` of ``columns``.

        Args:
            all_scores: Whether to add one column per label.
            texts: The texts that were predicted, for a first column ``text``.

        Raises:
            InputError: another number of texts.

        Examples:
            >>> trained.predict(texts).to_pandas().shape
            (3, 2)
        """
        frame = self.to_arrow(all_scores).to_pandas()
        if texts is None:
            return frame
        if len(texts) != len(self):
            raise InputError(f"texts: got {len(texts)} for {len(self)} predictions; give the texts that were predicted")
        frame.insert(0, "text", list(texts))
        return frame

    def _prediction(self, name: str, row: int) -> Prediction:
        found = self._specs[name].prediction(self.logits[name][row], self._scored(name)[row], self._decisions[name])
        return replace(found, spans=tuple(self._in_characters(row, found.spans))) if found.spans else found

    def _in_characters(self, row: int, spans: Sequence[Span]) -> list[Span]:
        """Convert spans counted in words to spans counted in characters."""
        assert self.words is not None
        words = self.words[row]
        return [replace(span, start=int(words[span.start, 0]), end=int(words[span.end - 1, 1])) for span in spans]

    def _scored(self, name: str) -> Any:
        if name not in self._scores:
            self._scores[name] = self._logits[name].map(
                lambda logits: self._specs[name].scores(logits, self._decisions[name])
            )
        return self._scores[name]


def _types(head: str, spec: HeadSpec) -> dict[str, Any]:
    """Return the Arrow types of a head's columns of labels, which depend on its labels alone, not on the rows."""
    import pyarrow as pa

    from manyheads.data.tables.arrays import arrow_array

    if not spec.has_labels:
        return {}
    labels = cast(LabelledSpec, spec).labels
    # Labels of several types have no column type in common but text.
    label = pa.string() if len({type(label) for label in labels}) > 1 else arrow_array(labels).type
    span = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("label", label), ("score", pa.float64())])
    several = {f"{head}_labels": pa.list_(label), f"{head}_set": pa.list_(label), f"{head}_spans": pa.list_(span)}
    return {f"{head}_label": label, **several}


def _arrow(values: Column, type_: Any) -> Any:
    """Return a column as an array of a type; without one, it has numbers, or a list of them per row."""
    import pyarrow as pa

    from manyheads.data.tables.arrays import arrow_array

    if isinstance(values, np.ndarray):
        return arrow_array(values)
    written = [_written(value, type_) for value in values]
    return arrow_array(written, pa.list_(pa.float64()) if type_ is None else type_)


def _written(value: Any, type_: Any) -> Any:
    """Return a cell of labels as it is stored."""
    import pyarrow as pa

    if isinstance(value, list):
        return [_written(item, None if type_ is None else type_.value_type) for item in value]
    if isinstance(value, Span):
        return {**asdict(value), "label": _written(value.label, type_.field("label").type)}
    return str(value) if type_ == pa.string() else value
