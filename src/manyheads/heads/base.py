"""The contract of a head kind, and its plain-JSON form.

A spec contains a head's settings and its loss, but no weights, and does not depend on the backbone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from manyheads.errors import HeadError, listed
from manyheads.heads.cells.placeholders import without_placeholders
from manyheads.heads.cells.spans import SplitText
from manyheads.heads.decision import Decision
from manyheads.heads.logits import Logits, RowLogits
from manyheads.heads.targets import Targets
from manyheads.heads.windows import Windows, largest_of_windows, mean_of_windows
from manyheads.types import MISSING, Batch, Prediction

if TYPE_CHECKING:
    from torch import Tensor

    from manyheads.taps import BackboneTap, Tap

INITS = ("random", "lm_head")
# No probability is taken to be smaller where its logarithm is needed: fp64 represents 1 minus it.
LEAST_SCORE = 1e-16

# A column of a scored table.
Column = Sequence[object] | np.ndarray


@dataclass(frozen=True)
class CellLosses:
    """A head's losses cell by cell. A cell is a row, a word, or one label or task of a row.

    Attributes:
        losses: The weighted loss of each labelled cell, (cells,).
        weights: Its weight, (cells,).
        labelled: Booleans (rows, ...), true for the labelled cells, in their order.
    """

    losses: Tensor
    weights: Tensor
    labelled: Tensor

    @property
    def rows(self) -> Tensor:
        """The row of each labelled cell, int64 (cells,)."""
        return self.labelled.nonzero()[:, 0]

    def summed(self, sample_weight: Tensor | None = None) -> LossTerms:
        """Return the loss before it is averaged.

        Args:
            sample_weight: Weight of each row, (rows,), at least 0; all count alike by default.
        """
        if sample_weight is None:
            return LossTerms(self.losses.sum(), self.weights.sum(), self.losses.shape[0])
        factors = sample_weight.to(self.losses)[self.rows]
        return LossTerms((factors * self.losses).sum(), (factors * self.weights).sum(), count_of(factors > 0))


@dataclass(frozen=True)
class LossTerms:
    """A head's loss before it is averaged, so that micro-batches and processes can be added up.

    Attributes:
        total: Sum of the losses of the labelled cells, ().
        weight: Sum of their weights, (); the mean loss is ``total / weight``.
        count: Number of labelled cells, without those of rows with the weight 0.
    """

    total: Tensor
    weight: Tensor
    count: int

    @property
    def mean(self) -> Tensor:
        """The mean loss, (); only where something is labelled."""
        return self.total / self.weight


@dataclass(frozen=True, repr=False)
class HeadSpec(ABC):
    """The settings that every head kind takes, as keywords.

    Args:
        column: The table column with its labels; ``None`` for the column with the head's name.
        reads: A tap, several taps whose features are concatenated, or ``"auto"``.
        hidden: Sizes of fully connected layers (with GELU) before the output layer; none by default.
        init: Initial weights of the output layer: ``"random"``, or ``"lm_head"`` for the LM head's rows of each label's
            words. The penalty of ``Frozen`` then pulls towards these weights instead of zero. Only for a head without
            hidden layers that reads the last layer.
        dropout: Probability of dropping a feature in training, before each fully connected layer.
        loss_weight: Factor of this head's loss in the joint loss.
        class_weights: ``None``, ``"balanced"`` (from the training rows), or one positive number per label, in the order
            of the labels or by label.
        detach: Whether gradients stop before the backbone.
        missing: The cells that mean no label, besides empty ones; ``None`` for -100 and the words that pandas reads as
            missing (``NA``, ``null``, ...). A label is never missing.

    Raises:
        HeadError: a setting out of its range.
    """

    kind: ClassVar[str]
    # Whether each output belongs to a label, whose words have rows in the LM head.
    has_label_words: ClassVar[bool] = False
    # Whether it predicts for each word of a text, not for the text; part of the key of cached features.
    by_word: ClassVar[bool] = False
    # The form of its logits of many rows.
    logits_type: ClassVar[type[Logits]] = RowLogits
    # About how many labelled items, rows or words, a text has: a gradient step takes the items of several texts.
    items_per_text: ClassVar[int] = 1
    # Whether it has named labels, and so a probability for each.
    has_labels: ClassVar[bool] = False
    # Whether each item has exactly one of its labels, without an order among them.
    has_classes: ClassVar[bool] = False
    # Whether its labels can be inferred from a column of a table.
    labels_from_column: ClassVar[bool] = True
    # The settings of a decision that have a meaning for it.
    decided_by: ClassVar[frozenset[str]] = frozenset()
    # Whether its predictions are numbers, or spans of words.
    has_values: ClassVar[bool] = False
    has_spans: ClassVar[bool] = False
    # Whether its loss is squared error: solved in closed form and in fp64, with standardized targets in gradient steps.
    squared_error: ClassVar[bool] = False

    column: str | None = field(default=None, kw_only=True)
    reads: Tap | Sequence[Tap] | str = field(default="auto", kw_only=True)
    hidden: Sequence[int] = field(default=(), kw_only=True)
    init: str = field(default="random", kw_only=True)
    dropout: float = field(default=0.0, kw_only=True)
    loss_weight: float = field(default=1.0, kw_only=True)
    class_weights: str | Sequence[float] | Mapping[Any, float] | None = field(default=None, kw_only=True)
    detach: bool = field(default=False, kw_only=True)
    missing: Sequence[object] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", _checked_reads(self.owner, self.reads))
        object.__setattr__(self, "hidden", _checked_sizes(self.owner, self.hidden))
        object.__setattr__(self, "class_weights", self._checked_class_weights())
        self._check_init()
        if not (is_number(self.dropout) and 0.0 <= self.dropout < 1.0):
            raise HeadError(f"{self.owner}: dropout must be a number in [0, 1), got {self.dropout!r}")
        if not isinstance(self.detach, bool):
            raise HeadError(f"{self.owner}: detach must be True or False, got {self.detach!r}")
        object.__setattr__(self, "missing", _checked_missing(self.owner, self.missing))
        if not (self.column is None or isinstance(self.column, str)):
            raise HeadError(f"{self.owner}: column must be a column's name, got {self.column!r}")
        if not (is_number(self.loss_weight) and math.isfinite(self.loss_weight) and self.loss_weight >= 0.0):
            raise HeadError(
                f"{self.owner}: loss_weight must be a finite number of at least 0, got {self.loss_weight!r}"
            )

    def __repr__(self) -> str:
        settings = ((item, getattr(self, item.name)) for item in fields(self))
        shown = [f"{item.name}={value!r}" for item, value in settings if value != item.default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def label_cells(self, cells: Sequence[object]) -> list[object]:
        """Return cells with ``None`` for those that mean no label; see ``missing``."""
        return without_placeholders(cells, getattr(self, "labels", ()), self.missing)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The taps in ``reads``; for ``"auto"`` the default tap."""
        return self.as_read(self._named_taps)

    @property
    def _named_taps(self) -> tuple[Tap, ...]:
        from manyheads.taps import Hidden, Tap

        if isinstance(self.reads, str):
            return (Hidden(),)
        return (self.reads,) if isinstance(self.reads, Tap) else tuple(self.reads)

    def as_read(self, taps: Iterable[Tap]) -> tuple[Tap, ...]:
        """Return taps in the form in which this kind of head reads them, each once."""
        return tuple(dict.fromkeys(taps))

    def wider(self, taps: Iterable[BackboneTap]) -> list[BackboneTap]:
        """Return taps like these that read more, for a search to try after them."""
        return []

    @property
    def owner(self) -> str:
        """The kind's name, for messages."""
        return type(self).__name__

    @property
    @abstractmethod
    def main_metric(self) -> str:
        """Name of the metric that compares two epochs or models; larger is better."""

    @property
    def needs_no_training(self) -> bool:
        """Whether it can predict without training."""
        return False

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of logits per row, or per word."""

    @property
    def score_width(self) -> int:
        """Number of scores per row, and of class weights; by default that of the logits."""
        return self.outputs

    @property
    def word_rule(self) -> str | None:
        """How a head that labels words splits texts into words; ``None`` for a head that labels whole texts."""
        return None

    @property
    def searches_taps(self) -> bool:
        """Whether training may search for its taps."""
        return self.reads == "auto" and self.init == "random"

    @abstractmethod
    def encode(
        self, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None = None
    ) -> Targets:
        """Turn label cells into targets; an empty cell is a missing label.

        Args:
            cells: One per row, ``None`` where missing.
            head: The head's name, for messages.
            source: The table's name, for messages.
            texts: The rows' texts split by ``word_rule``, where there is one.

        Raises:
            LabelError: an unknown label; names its row.
        """

    def joined(self, parts: Sequence[Targets]) -> Targets:
        """Return the targets of several tables end to end, as ``encode`` returns them."""
        return parts[0].joined(parts[1:])

    @property
    def cells_of_labels(self) -> list[object]:
        """One cell per label that means this label alone; empty for a head without labels of whole texts."""
        return []

    def labels_in_cells(self, cells: Sequence[object]) -> list[object]:
        """Return the labels in cells, repeated ones too, if the head can do without some of them in evaluation."""
        return []

    def with_further_labels(self, labels: Sequence[object]) -> HeadSpec:
        """Return a spec with these labels after its own; its settings for training are the defaults."""
        raise TypeError(f"{self.owner} has no labels to add to")

    def with_new_label(self, label: object) -> HeadSpec:
        """Return the spec with one more label after its own.

        Raises:
            HeadError: the head has no labels, has this one, or orders its labels.
        """
        raise HeadError(f"{self.owner}: no label can be added; make a new head")

    def only_own_labels(self, targets: Targets) -> Targets:
        """Return targets of ``with_further_labels`` without the further labels: missing, or not counted."""
        return targets

    @abstractmethod
    def check_targets(self, targets: Tensor, batch: Batch, head: str) -> Tensor:
        """Return targets passed to ``forward`` in the shape and dtype that ``loss`` takes.

        Raises:
            InputError: another shape, dtype or range; nothing is ever broadcast.
        """

    def unlabelled(self, logits: Tensor) -> Tensor:
        """Return targets without any label, in the shape that fits these logits."""
        import torch

        return torch.from_numpy(self.encode([None] * len(logits), "", "").values)

    def labelled(self, targets: Tensor) -> Tensor:
        """Return (rows,) booleans: the rows with any label."""
        import torch

        present = ~torch.isnan(targets) if targets.is_floating_point() else targets != MISSING
        return present if present.dim() == 1 else present.flatten(1).any(dim=1)

    def unseen_labels(self, targets: np.ndarray) -> list[object]:
        """Return the labels that no item of these targets (items, ...) has, if a training table should have each."""
        return []

    @abstractmethod
    def cell_losses(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> CellLosses:
        """Return the losses of (rows, outputs) fp32 logits; missing cells are left out before arithmetic."""

    def loss(
        self, logits: Tensor, targets: Tensor, class_weights: Tensor | None, sample_weight: Tensor | None = None
    ) -> LossTerms:
        """Return the loss terms of (rows, outputs) fp32 logits.

        Args:
            logits: As ``cell_losses`` takes them.
            targets: As ``check_targets`` returns them.
            class_weights: One per label, or ``None``.
            sample_weight: One per row, (rows,), a factor of all class weights of the row; all count alike by default.
        """
        return self.cell_losses(logits, targets, class_weights).summed(sample_weight)

    def total_weight(
        self, targets: Tensor, class_weights: Tensor | None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the sum of the weights of the labelled cells of checked targets, (): the ``weight`` of their loss."""
        import torch

        return self.loss(torch.zeros((len(targets), self.outputs)), targets, class_weights, sample_weight).weight

    def initial_bias(self, targets: np.ndarray) -> float:
        """Return the bias of the output layer at the start of training, close to the best constant prediction.

        Args:
            targets: (items, ...) labelled targets.
        """
        return 0.0

    @abstractmethod
    def balanced_weights(self, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor | None:
        """Return the weights of ``class_weights="balanced"`` for these targets (items, ...), which count with their
        weights (items,) if there are any.
        """

    @abstractmethod
    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss's second derivative with respect to each logit alone (outputs,), class weights left out:
        by it the solver measures its steps, so that it need not be exact.

        Args:
            logits: (rows, outputs).
            targets: As the loss takes them.
        """

    @abstractmethod
    def target_scores(self, targets: np.ndarray) -> np.ndarray:
        """Return encoded targets as what ``scores`` should be, fp32 (rows, score_width), NaN where missing."""

    @abstractmethod
    def raw_scores(self, logits: np.ndarray) -> np.ndarray:
        """Return probabilities, or values, of logits as trained, (rows, score_width) in the logits' precision. Training
        and heads that read this one use them."""

    def scores(self, logits: np.ndarray, decision: Decision) -> np.ndarray:
        """Return the scores that predictions, tables and metrics show: probabilities, calibrated by the decision's
        temperature, or values.

        Args:
            logits: (rows, outputs).
            decision: The head's decision.

        Returns:
            (rows, score_width) in the logits' precision.
        """
        return self.raw_scores(logits / decision.temperature)

    @abstractmethod
    def raw_logits(self, scores: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Return logits (rows, outputs) of which ``raw_scores`` makes these scores (rows, score_width).

        Args:
            scores: The scores.
            least: No probability is taken to be smaller.
        """

    def logits_of_texts(self, logits: Logits, windows: Windows, pool: str) -> Logits:
        """Return the logits of texts that were read in windows: those of which ``raw_scores`` makes the pooled ones.

        A decision applies to what was pooled, so that it changes no logit and a temperature no label.

        Args:
            logits: Of the windows.
            windows: Which text each one belongs to.
            pool: ``"mean"``, the mean of the windows' raw scores, or ``"max"``, see ``largest_scores``.
        """

        def pooled(values: np.ndarray, firsts: np.ndarray) -> np.ndarray:
            scores = self.raw_scores(values.astype(np.float64))
            found = mean_of_windows(scores, firsts) if pool == "mean" else self.largest_scores(scores, firsts)
            return self.raw_logits(found)

        return RowLogits(windows.pooled(logits.values, pooled))

    def largest_scores(self, scores: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Return the largest scores (texts, score_width) of each text's windows.

        Args:
            scores: (windows, score_width).
            firsts: (texts,) the first window of each text.
        """
        return largest_of_windows(scores, firsts)

    @abstractmethod
    def prediction(self, logits: np.ndarray, scores: np.ndarray, decision: Decision) -> Prediction:
        """Return the prediction of one row.

        Args:
            logits: (outputs,), or (words, outputs) of a head that labels words.
            scores: Their ``scores`` with the decision.
            decision: The head's decision.
        """

    @abstractmethod
    def table_columns(
        self, head: str, logits: Any, scores: Any, decision: Decision, all_scores: bool
    ) -> dict[str, Column]:
        """Return the columns of a scored table.

        Args:
            head: The head's name.
            logits: (rows, outputs), or a ``Ragged`` of (words, outputs) of a head that labels words.
            scores: Their ``scores`` with the decision.
            decision: The head's decision.
            all_scores: Whether to add one column per label.
        """

    def check_decision(self, decision: Decision) -> None:
        """Check that a decision fits this kind of head.

        Raises:
            HeadError: a setting that this kind does not have, or one for another number of labels.
        """
        for name in decision.settings:
            if name not in self.decided_by:
                others = f"takes {listed(sorted(self.decided_by))}" if self.decided_by else "has no settings"
                raise HeadError(f"{self.owner}: has no {name}; its decision {others}; leave {name} out")

    def _check_init(self) -> None:
        if self.init not in INITS:
            raise HeadError(f"{self.owner}: init must be one of {listed(INITS)}, got {self.init!r}")
        if self.init == "lm_head" and not self.has_label_words:
            raise HeadError(
                f"{self.owner}: init='lm_head' is only supported by heads with labels (Multiclass, MultiLabel)"
            )
        if self.init == "lm_head" and self.hidden:
            raise HeadError(
                f"{self.owner}: init='lm_head' is for a head without hidden layers, got hidden={list(self.hidden)}; "
                "leave one of them out"
            )

    def _checked_class_weights(self) -> str | tuple[float, ...] | None:
        weights = self.class_weights
        if weights is None or weights == "balanced":
            return weights if weights is None else "balanced"
        if isinstance(weights, str | Mapping) or len(weights) != self.score_width or not all(map(is_number, weights)):
            raise HeadError(
                f"{self.owner}: class_weights must be None, 'balanced' or {self.score_width} numbers, got {weights!r}"
            )
        target_scores = tuple(float(weight) for weight in weights)
        if not all(math.isfinite(weight) and weight > 0 for weight in target_scores):
            raise HeadError(f"{self.owner}: class_weights must be finite and positive, got {weights!r}")
        return target_scores


def is_number(value: object) -> bool:
    """Return whether a setting is a number and not a boolean."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _checked_reads(owner: str, reads: Any) -> Any:
    if isinstance(reads, str) and reads == "auto":
        return reads
    from manyheads.taps import Tap

    if isinstance(reads, Tap):
        return reads
    several = isinstance(reads, Sequence) and not isinstance(reads, str) and len(reads) > 0
    if several and all(isinstance(tap, Tap) for tap in reads) and len(set(reads)) == len(reads):
        return tuple(reads)
    raise HeadError(f"{owner}: reads must be 'auto', a tap such as Hidden(), or several different taps, got {reads!r}")


def _checked_sizes(owner: str, sizes: Any) -> tuple[int, ...]:
    if isinstance(sizes, int) and not isinstance(sizes, bool):
        raise HeadError(f"{owner}: hidden takes a list of sizes, got {sizes!r}; write hidden=[{sizes}]")
    several = isinstance(sizes, Sequence) and not isinstance(sizes, str)
    if several and all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        return tuple(sizes)
    raise HeadError(f"{owner}: hidden must be a list of positive whole numbers, got {sizes!r}")


def weighted(weights: Tensor | None, like: Tensor) -> Tensor | None:
    """Return class weights on the device and in the dtype of the logits."""
    return None if weights is None else weights.to(device=like.device, dtype=like.dtype)


def count_of(mask: Tensor) -> int:
    """Return the number of true cells."""
    import torch

    return int(torch.count_nonzero(mask))


def _checked_missing(owner: str, missing: object) -> tuple[object, ...] | None:
    if missing is None:
        return None
    if isinstance(missing, str) or not isinstance(missing, Sequence):
        raise HeadError(f"{owner}: missing must be a list of cells such as ['unknown'], got {missing!r}")
    return tuple(missing)
