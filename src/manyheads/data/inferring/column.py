"""A column's cells, and the heads that can be made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from manyheads.errors import LabelError, counted, listed
from manyheads.heads import HeadSpec, Multiclass, MultiLabel, Ordinal, Regression, Tokens
from manyheads.heads.cells.label_text import canonical, number_of

MOST_INTEGER_CLASSES = 20
MOST_DISTINCT_STRINGS = 50


@dataclass(frozen=True)
class Inferred:
    """A head spec, and the rule that chose it.

    Attributes:
        spec: The head.
        rule: One sentence, such as ``'billable': 2 distinct integers -> Multiclass(2 labels)``.
    """

    spec: HeadSpec
    rule: str


@dataclass(frozen=True)
class LabelColumn:
    """The cells of a column that are not missing.

    Attributes:
        name: The column's name.
        source: The table's name, for messages.
        cells: Row number from 1 -> cell.
        rows: Number of rows, missing cells included.
        missing: The cells that mean no label, as the caller named them; ``None`` for the usual ones.
        placeholders: The cells that mean no label, and how often each occurs.
        separator: The text between labels, as the caller named it.
        order: All labels of the column in their order, if it has one.
        texts: The cells of every column besides the label columns, which may be the texts.
    """

    name: str
    source: str
    cells: dict[int, object]
    rows: int
    missing: Sequence[object] | None = None
    placeholders: Counter[object] = field(default_factory=Counter)
    separator: str | None = None
    order: Sequence[object] | None = None
    texts: Sequence[Sequence[object]] = ()

    @property
    def has_gaps(self) -> bool:
        """Whether some cells are missing."""
        return len(self.cells) < self.rows

    def error(self, reason: str) -> LabelError:
        """Return an error that names the table and the column."""
        return LabelError(f"{self.source}, column {self.name!r}: {reason}")

    def multiclass(self, labels: Iterable[object], what: str) -> Inferred:
        """Return a multi-class head.

        Raises:
            LabelError: one label only, or labels that differ only in case.
        """
        given = list(labels)
        names, remark = self._merged(given)
        if len(names) < 2:
            raise self.error(f"contains one class only, {names[0]!r}; name another column, or add rows")
        self._check_case(given)
        spec = Multiclass(labels=ordered(names), column=self.name, missing=self.missing)
        return self._inferred(spec, f"{len(names)} distinct {what}", f"Multiclass({len(names)} labels)", remark)

    def ordinal(self, labels: Sequence[object]) -> Inferred:
        """Return an ordinal head with labels in their order."""
        spec = Ordinal(labels=list(labels), column=self.name, missing=self.missing)
        return self._inferred(spec, f"{len(labels)} ordered categories", f"Ordinal({len(labels)} labels)")

    def multilabel(self, parts: Iterable[Sequence[object]], what: str, separator: str = "|") -> Inferred:
        """Return a multi-label head.

        Raises:
            LabelError: the same labels in every cell, or values that look like free text.
        """
        rows = [list(dict.fromkeys(part)) for part in parts]
        given = [label for row in rows for label in row]
        names, remark = self._merged(given)
        if not names or (len(names) == 1 and all(rows)):
            raise self.error(f"contains the same labels in every cell, {listed(names)}; name another column")
        self.check_repeats(given)
        self._check_case(given)
        spec = MultiLabel(labels=ordered(names), column=self.name, missing=self.missing, separator=separator)
        head = f"MultiLabel({counted(len(names), 'label')})"
        return self._inferred(spec, f"{what}, {len(names)} distinct", head, remark)

    def multi_hot(self, width: int) -> Inferred:
        """Return a multi-label head for lists of zeros and ones; its labels are the positions."""
        spec = MultiLabel(labels=list(range(width)), column=self.name, missing=self.missing)
        remark = "the labels are positions from 0; name them with MultiLabel(labels=[...])"
        return self._inferred(spec, f"multi-hot lists of {width}", f"MultiLabel({counted(width, 'label')})", remark)

    def tokens(self, types: Iterable[object], what: str, words: str = "punctuation") -> Inferred:
        """Return a token head for entity types.

        Args:
            types: The types, also repeated.
            what: The cells, for the rule.
            words: How texts are split into words.

        Raises:
            LabelError: there are none.
        """
        names = ordered(types)
        if not names:
            raise self.error("contains no entity; name another column, or add rows with entities")
        spec = Tokens(labels=names, column=self.name, missing=self.missing, words=words)
        return self._inferred(spec, what, f"Tokens({counted(len(names), 'entity type')}{_split(words)})")

    def word_labels(self, labels: Iterable[object], words: str) -> Inferred:
        """Return a token head with one label per word of texts that are split by ``words``."""
        names = ordered(labels)
        spec = Tokens(labels=names, column=self.name, missing=self.missing, scheme="plain", words=words)
        numbers = all(isinstance(name, int) for name in names)
        remark = "the labels are numbers; name them with Tokens(labels=[...])" if numbers else ""
        head = f"Tokens({counted(len(names), 'label')}, plain{_split(words)})"
        return self._inferred(spec, "lists with one label per word", head, remark)

    def regression(self, what: str, values: Iterable[object]) -> Inferred:
        """Return a regression head.

        Raises:
            LabelError: one value only.
        """
        distinct = list(dict.fromkeys(values))
        if len(distinct) < 2:
            raise self.error(f"contains one value only, {distinct[0]!r}; name another column")
        spec = Regression(column=self.name, missing=self.missing)
        return self._inferred(spec, f"{len(distinct)} distinct {what}", "Regression")

    def check_repeats(self, labels: Sequence[object]) -> None:
        """Check that values repeat, as labels do.

        Raises:
            LabelError: most values are different.
        """
        distinct = len(set(labels))
        if distinct > MOST_DISTINCT_STRINGS and distinct > len(labels) / 2:
            raise self.error(
                f"{distinct} of {len(labels)} values differ, so it looks like free text or an id; name another column, "
                "or make the head yourself: Multiclass(labels=[...])"
            )

    def _merged(self, labels: Iterable[object]) -> tuple[list[object], str]:
        """Return distinct labels, those that look alike as one, and a remark on how many cells that changed."""
        cells = [cell.strip() if isinstance(cell, str) else cell for cell in labels]
        texts = [canonical(cell) if isinstance(cell, str) else cell for cell in cells]
        changed = sum(text != cell for text, cell in zip(texts, cells, strict=True))
        same = len(set(texts)) == len(set(cells))
        remark = "" if same else f"{changed} cells differ from others only in spaces or invisible characters"
        return list(dict.fromkeys(texts)), remark

    def _check_case(self, labels: Iterable[object]) -> None:
        counts = Counter(canonical(label) for label in labels if isinstance(label, str))
        spellings: dict[str, list[str]] = {}
        for text in counts:
            spellings.setdefault(text.casefold(), []).append(text)
        for alike in spellings.values():
            if len(alike) > 1:
                shown = " and ".join(f"{text!r} ({counts[text]} cells)" for text in alike)
                raise self.error(
                    f"{shown} differ only in case; write them alike, or name the labels: Multiclass(labels=[...])"
                )

    def _inferred(self, spec: HeadSpec, found: str, head: str, *remarks: str) -> Inferred:
        notes = [remark for remark in remarks if remark]
        if self.placeholders:
            shown = ", ".join(f"{cell!r} ({count})" for cell, count in self.placeholders.most_common(4))
            notes.append(f"no label: {shown}; missing=[] keeps them as labels")
        if self.missing is None and any(label == -1 for label in getattr(spec, "labels", ())):
            notes.append("-1 is a label; missing=[-1] makes it no label")
        return Inferred(spec, "; ".join([f"{self.name!r}: {found} -> {head}", *notes]))


def _split(words: str) -> str:
    return "" if words == "punctuation" else f", words={words!r}"


def few(values: Sequence[object]) -> bool:
    """Return whether numbers repeat, with few distinct ones, as classes do."""
    distinct = len(set(values))
    return distinct <= MOST_INTEGER_CLASSES and distinct < len(values)


def ordered(labels: Iterable[object]) -> list[object]:
    """Return distinct labels in order: numbers and numeric strings by value, other strings by code point."""
    distinct = list(dict.fromkeys(labels))
    if all(isinstance(label, str) and number_of(label) is not None for label in distinct):
        return sorted(distinct, key=lambda label: (float(str(label)), str(label)))
    return sorted(distinct)  # type: ignore[type-var]
