"""Tokens: one label per word of a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from manyheads.errors import HeadError, InputError, did_you_mean, listed
from manyheads.heads.base import LEAST_SCORE, CellLosses, Column
from manyheads.heads.cells.best_tags import best_tags
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.entities import (
    OUTSIDE,
    OUTSIDE_TAG,
    as_bio,
    bio_tags,
    entities,
    entity_types,
    has_bare_tags,
    is_tag,
    types_of,
)
from manyheads.heads.cells.labels import LabelIndex
from manyheads.heads.cells.placeholders import is_placeholder
from manyheads.heads.cells.spans import LabelSpan, SplitText, check_spans, words_of_spans
from manyheads.heads.cells.word_labels import check_count, parsed
from manyheads.heads.decision import Decision
from manyheads.heads.kinds.labelled import LabelledSpec
from manyheads.heads.kinds.softmax import (
    balanced,
    check_classes,
    cross_entropies,
    curvature,
    logarithm,
    one_hot,
    softmax,
)
from manyheads.heads.logits import Logits, WordLogits
from manyheads.heads.ragged import Ragged
from manyheads.heads.targets import Targets, WordTargets
from manyheads.heads.windows import Windows
from manyheads.runtime.words import WORD_RULES, check_subword, check_window
from manyheads.types import MISSING, Batch, Prediction, Span

if TYPE_CHECKING:
    from torch import Tensor

    from manyheads.taps import BackboneTap, Tap

SCHEMES = ("BIO", "plain")


@dataclass(frozen=True, repr=False)
class Tokens(LabelledSpec):
    """One label per word, or entities of one or more words; softmax and cross-entropy over the labelled words.

    A label cell is a list of tags, one per word (``None`` for a word without a label), or a list of spans: objects with
    ``start`` and ``end``, in characters, and ``label``. Spans contain whole words. Tags of entities may follow BIO,
    BILUO, BIOES or IO, and spans may have the form of doccano, Label Studio, Argilla, spaCy or Prodigy.

    ``reads`` names layers: ``Hidden(layer=-4)``, or several; ``"auto"`` searches for them.

    Args:
        labels: With ``scheme="BIO"`` at least one entity type, or the tags (``"O"``, ``"B-drug"``, ...); with
            ``"plain"`` at least two labels, such as parts of speech.
        scheme: ``"BIO"`` for entities, with one output for ``O`` and one each for ``B`` and ``I`` of every type, or
            ``"plain"`` for one independent label per word.
        subword: The features of a word: its ``"first"`` token, or the ``"mean"`` of its tokens.
        window: Number of words before and after each word whose features are read too. ``None`` is 0, and with
            ``reads="auto"`` the search also tries 1.
        words: How texts are split that are not lists of words: ``"punctuation"`` (runs of letters and digits, and every
            other symbol as a word; in scripts without spaces, every character) or ``"spaces"``. All token heads of a
            model must split alike.

    Raises:
        HeadError: a setting out of its range, or a tap without a vector per token.

    Examples:
        >>> head = model.add_head("tags", mh.Tokens(labels=["symptom"], words="spaces"))
        >>> result = mh.train(model, table, text="note", heads=["tags"])
        >>> [span.label for span in model.predict(["mild cough"], heads=["tags"])[0]["tags"].spans]
        ['symptom']
    """

    kind: ClassVar[str] = "tokens"
    least_labels: ClassVar[int] = 1
    by_word: ClassVar[bool] = True
    has_classes: ClassVar[bool] = True
    has_spans: ClassVar[bool] = True
    logits_type: ClassVar[type[Logits]] = WordLogits
    items_per_text: ClassVar[int] = 16

    scheme: str = field(default="BIO", kw_only=True)
    subword: str = field(default="first", kw_only=True)
    window: int | None = field(default=None, kw_only=True)
    words: str = field(default="punctuation", kw_only=True)

    def __post_init__(self) -> None:
        for name, value, allowed in (("scheme", self.scheme, SCHEMES), ("words", self.words, WORD_RULES)):
            if value not in allowed:
                raise HeadError(
                    f"Tokens: {name} {value!r} is not among {listed(allowed)}{did_you_mean(value, allowed)}"
                )
        check_subword("Tokens", self.subword)
        if self.window is not None:
            check_window("Tokens", self.window)
        if self.scheme == "BIO":
            object.__setattr__(self, "labels", _as_types(self.labels))
        super().__post_init__()
        if self.scheme == "plain" and len(self.labels) < 2:
            raise HeadError(f"Tokens: scheme='plain' needs at least 2 labels, got {listed(self.labels)}")
        for tap in () if isinstance(self.reads, str) else self._named_taps:
            _check_tap(tap)

    @property
    def main_metric(self) -> str:
        """F1 of entities, or accuracy of words with ``scheme="plain"``."""
        return "entity_f1" if self.scheme == "BIO" else "accuracy"

    @property
    def classes(self) -> tuple[object, ...]:
        """The tags (BIO), or the labels."""
        return bio_tags(self.labels) if self.scheme == "BIO" else tuple(self.labels)

    def as_read(self, taps: Iterable[Tap]) -> tuple[Tap, ...]:
        """Return taps that read the same layers word by word."""
        from manyheads.taps import Hidden, Words

        layers = dict.fromkeys(tap.layer for tap in taps if isinstance(tap, Hidden))
        return tuple(Words(layer, self.subword, self.window or 0) for layer in layers)  # type: ignore[arg-type]

    def wider(self, taps: Iterable[BackboneTap]) -> list[BackboneTap]:
        """Return the taps with the neighbors of each word, unless the head has a window."""
        from manyheads.taps import Words

        return [replace(tap, window=1) for tap in taps if isinstance(tap, Words) and self.window is None]

    @property
    def word_rule(self) -> str:
        """How texts are split into words."""
        return self.words

    def encode(
        self, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None = None
    ) -> WordTargets:
        """Return the int64 class position of each word, -100 where missing.

        Args:
            cells: Tags or spans, one cell per row, ``None`` where missing.
            head: The head's name, for messages.
            source: The table's name, for messages.
            texts: The rows' texts.
        """
        assert texts is not None
        places = [f"{source}: head {head!r}, row {row}" for row in range(1, len(cells) + 1)]
        read = [None if is_missing(cell) else parsed(cell, place) for cell, place in zip(cells, places, strict=True)]
        spans = [[item for item in items or () if isinstance(item, LabelSpan)] for items in read]
        check_spans(texts, spans, places)
        rows = enumerate(zip(read, texts, strict=True))
        return WordTargets(Ragged.of(self._row(items, text, row, head, source) for row, (items, text) in rows))

    def labels_in_cells(self, cells: Sequence[object]) -> list[object]:
        """Return the entity types, or the labels of words, in cells; cells that cannot be read have none."""
        found: list[object] = []
        for cell in (cell for cell in cells if not is_missing(cell)):
            items = parsed(cell, self.owner)
            spans = [item.label for item in items if isinstance(item, LabelSpan)]
            tags = [item for item in items if not isinstance(item, LabelSpan) and not is_placeholder(item, ("O",))]
            found += spans or (tags if self.scheme == "plain" else entity_types(tags, self.labels))
        return found

    def only_own_labels(self, targets: Targets) -> WordTargets:
        """Return int64 class positions of words, further classes as missing."""
        values = targets.values.values
        return WordTargets(Ragged(np.where(values < self.outputs, values, MISSING), targets.values.offsets))

    def check_targets(self, targets: Tensor, batch: Batch, head: str) -> Tensor:
        """Return int64 positions (rows, words), -100 where missing, one for each word of the batch."""
        rows = len(batch.input_ids)
        if targets.dim() != 2 or len(targets) != rows:
            raise InputError(f"Head {head!r}: labels must have shape ({rows}, words), got {tuple(targets.shape)}")
        words = batch.words().to(targets.device)
        return _on_words(check_classes(targets, self.outputs, head), words, head, by_token=batch.word_ids is None)

    def unlabelled(self, logits: Tensor) -> Tensor:
        """Return -100 for each word of (rows, words, outputs) logits."""
        import torch

        return torch.full(logits.shape[:2], MISSING)

    def unseen_labels(self, targets: np.ndarray) -> list[object]:
        """Return the classes that no word has; ``I-`` tags may be missing if all entities have one word."""
        seen = set(np.unique(targets).tolist())
        classes = [name for position, name in enumerate(self.classes) if position not in seen]
        return [name for name in classes if str(name)[:2] != "I-"]

    def total_weight(
        self, targets: Tensor, class_weights: Tensor | None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the sum of the weights of the labelled words."""
        import torch

        return self.loss(torch.zeros((*targets.shape, self.outputs)), targets, class_weights, sample_weight).weight

    def cell_losses(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> CellLosses:
        """Return the cross-entropy of each labelled word; of (rows, words, outputs) logits, or of (words, outputs)."""
        flat = logits.reshape(-1, self.outputs)
        of_words = cross_entropies(flat, targets.reshape(-1), class_weights, self.label_smoothing)
        return replace(of_words, labelled=of_words.labelled.view(targets.shape))

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the softmax's ``p (1 - p)``, averaged over words."""
        return curvature(logits.reshape(-1, self.outputs))

    def balanced_weights(self, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return words / (tags * words of the tag), scikit-learn's rule; 1 for a tag without words."""
        return balanced(targets, self.outputs, sample_weight)

    def target_scores(self, targets: np.ndarray) -> np.ndarray:
        """Return one for the tag of each word and zero for the others."""
        return one_hot(targets, self.outputs)

    def raw_scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax (words, outputs)."""
        return softmax(logits)

    def raw_logits(self, scores: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Return the logarithms (words, outputs)."""
        return logarithm(scores, least)

    def logits_of_texts(self, logits: Logits, windows: Windows, pool: str) -> WordLogits:
        """Return the logits of each word in the window that reads it, whatever ``pool`` is."""
        assert windows.words is not None
        return WordLogits(Ragged(logits.values.values[windows.words.values], windows.words.offsets))

    def prediction(self, logits: np.ndarray, scores: np.ndarray, decision: Decision) -> Prediction:
        """Return the spans of one text, counted in words; plain labels as a tuple too."""
        spans = self._spans(logits, scores)
        return Prediction(spans=spans, labels=tuple(span.label for span in spans) if self.scheme == "plain" else ())

    def table_columns(
        self, head: str, logits: Any, scores: Any, decision: Decision, all_scores: bool
    ) -> dict[str, Column]:
        """Return ``{head}_spans``, counted in words, and with ``all_scores`` one column per tag with a number per
        word."""
        spans = [list(self._spans(*row)) for row in zip(logits, scores, strict=True)]
        columns: dict[str, Column] = {f"{head}_spans": spans}
        if all_scores:
            for place, name in enumerate(self.classes):
                columns[f"{head}_score_{name}"] = [row[:, place].tolist() for row in scores]
        return columns

    def predicted_classes(self, logits: Ragged) -> Ragged:
        """Return the class of each word of each text, int64 (words,): its most probable label, or for entities the tag
        in the most probable valid sequence of BIO tags. No temperature changes it.

        Args:
            logits: (words, outputs) of each text.
        """
        if self.scheme == "plain":
            return Ragged(logits.values.argmax(axis=1), logits.offsets)
        return best_tags(logits)

    def _spans(self, logits: np.ndarray, scores: np.ndarray) -> tuple[Span, ...]:
        if not len(scores):
            return ()
        tags = self.predicted_classes(Ragged.single(logits)).values
        best = scores[np.arange(len(scores)), tags]
        if self.scheme == "plain":
            pairs = zip(tags.tolist(), best.tolist(), strict=True)
            return tuple(Span(word, word + 1, self.labels[tag], score) for word, (tag, score) in enumerate(pairs))
        found = entities(tags).tolist()
        return tuple(Span(start, end, self.labels[kind], float(best[start:end].mean())) for start, end, kind in found)

    def _row(self, items: Sequence[object] | None, text: SplitText, row: int, head: str, source: str) -> list[int]:
        """Return the class of each word of a row from the items of its cell."""
        if items is None:
            return [MISSING] * len(text.words)
        where = f"{source}: head {head!r}, row {row + 1}"
        spans = [item for item in items if isinstance(item, LabelSpan)]
        # An empty list means that the text has no spans.
        if spans or not items:
            return self._from_spans(text, spans, row, head, source)
        check_count(items, text, where, self.words)
        names = {str(name) for name in self.classes}
        tags = [None if is_missing(tag) or is_placeholder(tag, names) else tag for tag in items]
        index = LabelIndex(self.classes)
        read = as_bio(tags, self.labels) if self.scheme == "BIO" else tags
        return [MISSING if tag is None else index.position(tag, row, head, source) for tag in read]

    def _from_spans(self, text: SplitText, spans: Sequence[LabelSpan], row: int, head: str, source: str) -> list[int]:
        """Return the class of each word: outside of entities ``O``, and missing outside of plain labels."""
        index = LabelIndex(self.labels)
        bio = self.scheme == "BIO"
        classes = [OUTSIDE if bio else MISSING] * len(text.words)
        for inside, span in words_of_spans(text, spans, f"{source}: head {head!r}, row {row + 1}"):
            label = index.position(span.label, row, head, source)
            for word in inside:
                first = word == inside.start
                classes[word] = (2 * label + (1 if first else 2)) if bio else label
        return classes


def _as_types(labels: Any) -> Any:
    """Return entity types, of which a list of tags names each once."""
    if isinstance(labels, str) or not isinstance(labels, Sequence | np.ndarray):
        return labels
    given = list(labels)
    if has_bare_tags(given):
        raise HeadError(
            f"Tokens: the tags {listed(given)} name no type; name it in labels=['term'], and write tags as 'B-term'"
        )
    types = types_of(given)
    if types is not None:
        return types
    others = [label for label in given if not is_tag(label)]
    if len(others) == len(given):
        return labels
    # In IO, types are tags.
    if all(label == OUTSIDE_TAG for label in given if is_tag(label)):
        return others
    raise HeadError(
        f"Tokens: labels mix tags (O, B-..., I-...) with {listed(others)}; name entity types alone, or tags alone, "
        "or take scheme='plain'"
    )


def _check_tap(tap: Tap) -> None:
    """Check that a tap has a vector per token."""
    from manyheads.taps import Hidden

    if not isinstance(tap, Hidden) or tap.layer == "mix":
        raise HeadError(f"Tokens: reads layers word by word, such as Hidden(layer=-2), got {tap!r}")
    if tap != Hidden(layer=tap.layer):
        raise HeadError(
            "Tokens: reads each word by itself, so there is nothing to pool or to prompt; leave all but layer out of "
            f"{tap!r}"
        )


def _on_words(targets: Tensor, words: Tensor, head: str, by_token: bool) -> Tensor:
    """Return targets (rows, any) as one per word of a batch, missing where a word has no token.

    Args:
        targets: As ``Tokens.check_targets`` returns them.
        words: (rows, words) booleans: which words have a token.
        head: The head's name, for messages.
        by_token: Whether words are tokens, so that there is one target for each, padding included.

    Raises:
        InputError: more targets than tokens, or a labelled row with words, or tokens, after its last target.
    """
    import torch

    count, given = words.shape[1], targets.shape[1]
    uncovered = words[:, given:].any(dim=1) & (targets != MISSING).any(dim=1)
    if (by_token and given > count) or bool(uncovered.any()):
        what = "token of input_ids" if by_token else "word of word_ids"
        raise InputError(
            f"Head {head!r}: labels must have shape ({len(words)}, {count}), one per {what}, got "
            f"{tuple(targets.shape)}; -100 is missing"
        )
    missing = targets.new_full((len(targets), max(count - given, 0)), MISSING)
    return torch.cat([targets[:, :count], missing], dim=1).masked_fill(~words, MISSING)
