"""A head's weights: readers of its taps, stacked fully connected layers, and the output layer, all in fp32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from manyheads.errors import HeadError
from manyheads.heads.base import HeadSpec
from manyheads.heads.decision import NEUTRAL, Decision, with_new_labels
from manyheads.taps import BackboneTap, Output, Tap
from manyheads.taps.base import Reader
from manyheads.types import BackboneFacts, Features

# transformers' own classifiers start with this standard deviation and a zero bias.
INITIAL_STD = 0.02
# How far below the other biases that of a new label starts: its odds are about one in 3,000.
_UNLIKELY = 8.0


class Head(nn.Module):
    """One named predictor's module.

    Attributes:
        spec: Its settings.
        taps: Its taps, resolved for this backbone.
        trained: Whether it was trained.
        summary: A record of the last training, as plain JSON.
        widths: Size of the vector that it gets of each tap.
    """

    def __init__(self, spec: HeadSpec, taps: Sequence[Tap], facts: BackboneFacts) -> None:
        super().__init__()
        self.spec = spec
        self.taps = tuple(taps)
        self.trained = False
        self.summary: dict[str, object] = {}
        self._decision = NEUTRAL
        self.readers = nn.ModuleList([tap.reader(facts) for tap in self.taps])
        self.widths = tuple(tap.width(facts) for tap in self.taps)
        self.trunk = _trunk(self.width, spec.hidden, spec.dropout)
        self.dropout = nn.Dropout(spec.dropout)
        self.output = nn.Linear(spec.hidden[-1] if spec.hidden else self.width, spec.outputs)
        nn.init.normal_(self.output.weight, std=INITIAL_STD)
        nn.init.zeros_(self.output.bias)
        # Not among the weights: class weights belong to the loss and are kept with the summary.
        self.register_buffer("class_weights", _given_weights(spec), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Head:
        """Apply a move to its tensors; a cast, as by ``model.half()``, leaves them in fp32."""

        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self

    def add_label(self, label: object) -> None:
        """Add a label that came later; the logits of the other labels do not change.

        The new label is predicted for nothing until the head is trained again.

        Args:
            label: Its name; for a token head of entities, their type.

        Raises:
            HeadError: the head has no labels, has this one, or orders its labels.

        Examples:
            >>> trained.heads["urgency"].add_label("unknown")
            >>> trained.heads["urgency"].spec.labels
            ('routine', 'urgent', 'emergency', 'unknown')
        """
        spec = self.spec.with_new_label(label)
        added = spec.outputs - self.spec.outputs
        old = self.output
        device = old.weight.device
        self.output = nn.Linear(old.in_features, spec.outputs, device=device)
        with torch.no_grad():
            self.output.weight[:-added].copy_(old.weight)
            self.output.weight[-added:].zero_()
            self.output.bias[:-added].copy_(old.bias)
            self.output.bias[-added:].fill_(min(float(old.bias.min()), 0.0) - _UNLIKELY)
        self.output.train(self.training)
        if self.class_weights is not None:
            weights = cast(Tensor, self.class_weights)
            self.set_class_weights(torch.cat([weights, weights.new_ones(added)]))
        self._decision = with_new_labels(self._decision, added)
        self.spec = spec

    @property
    def decision(self) -> Decision:
        """How it turns scores into an answer. Training sets it, and another one can be assigned.

        Examples:
            >>> trained.heads["urgency"].decision
            Decision()
        """
        return self._decision

    @decision.setter
    def decision(self, decision: Decision) -> None:
        if not isinstance(decision, Decision):
            raise HeadError(f"{self.spec.owner}: decision must be a Decision, got {decision!r}")
        self.spec.check_decision(decision)
        self._decision = decision

    def take_over(self, other: Head) -> None:
        """Take the taps, modules and weights of another head with the same spec."""
        self.taps = other.taps
        self.widths = other.widths
        for part in ("readers", "trunk", "output"):
            setattr(self, part, getattr(other, part))

    def averaged(self, other: Head, share: float) -> Head:
        """Return a new linear head whose logits are the mean of this head's and another's: it reads what either reads.

        Args:
            other: A linear head with the same spec.
            share: Share of the other one's logits.
        """
        mean, theirs = copy.deepcopy(self), copy.deepcopy(other).to(self.output.weight.device)
        columns = [(1 - share) * part for part in _columns(mean)]
        for tap, reader, width, part in zip(theirs.taps, theirs.readers, theirs.widths, _columns(theirs), strict=True):
            shared = [k for k, own in enumerate(mean.taps) if own == tap and _equal(mean.readers[k], reader)]
            if shared:
                columns[shared[0]] += share * part
                continue
            mean.taps, mean.widths = (*mean.taps, tap), (*mean.widths, width)
            mean.readers.append(reader)
            columns.append(share * part)
        bias = (1 - share) * mean.output.bias.detach() + share * theirs.output.bias.detach()
        mean.output = nn.Linear(mean.width, self.spec.outputs, device=bias.device)
        with torch.no_grad():
            mean.output.weight.copy_(torch.cat(columns, dim=1))
            mean.output.bias.copy_(bias)
        return mean.train(self.training)

    @property
    def width(self) -> int:
        """Size of its input vector."""
        return sum(self.widths)

    @property
    def reads_heads(self) -> tuple[str, ...]:
        """The names of the heads whose output it reads."""
        return tuple(tap.head for tap in self.outputs)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Its taps of other heads."""
        return tuple(tap for tap in self.taps if isinstance(tap, Output))

    @property
    def backbone_taps(self) -> tuple[BackboneTap, ...]:
        """Its taps of the backbone."""
        return tuple(tap for tap in self.taps if isinstance(tap, BackboneTap))

    @property
    def is_usable(self) -> bool:
        """Whether it was trained, or needs no training."""
        return self.trained or self.spec.needs_no_training

    @property
    def linear(self) -> bool:
        """Whether the head is one linear layer on features that need no learned reading."""
        return not self.spec.hidden and not any(cast(Reader, reader).learns for reader in self.readers)

    @property
    def stackable(self) -> bool:
        """Whether its output can be computed in one matrix product with other heads, without dropout."""
        passes = all(cast(Reader, reader).passes for reader in self.readers)
        return self.linear and passes and not (self.training and self.spec.dropout > 0.0)

    def features(self, read: Mapping[Tap, Features]) -> list[Features]:
        """Return its features in the order of its taps, detached from the graph if the spec says so."""
        mine = [read[tap].float() for tap in self.taps]
        return [features.detached() for features in mine] if self.spec.detach else mine

    def detached_scores(self, logits: Tensor, tap: Output) -> Features:
        """Return the scores (rows, scores) that a tap reads of its logits (rows, outputs), detached from the graph: as
        trained, whatever its decision."""
        scores = tap.read(self.spec.raw_scores(logits.detach().cpu().numpy()))
        return Features(torch.from_numpy(scores).to(logits.device))

    def forward(self, features: Sequence[Features]) -> Tensor:
        """Return fp32 logits (rows, outputs)."""
        vectors = [reader(item) for reader, item in zip(self.readers, features, strict=True)]
        joined = vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)
        logits: Tensor = self.output(self.dropout(self.trunk(joined)))
        return logits

    def set_class_weights(self, weights: Tensor | None) -> None:
        """Set the class weights of the loss, one per label."""
        self.register_buffer("class_weights", weights, persistent=False)

    def loss_weights(self, name: str) -> Tensor | None:
        """Return the class weights that the loss takes.

        Raises:
            HeadError: ``"balanced"`` before any training rows have been counted.
        """
        if self.spec.class_weights == "balanced" and self.class_weights is None:
            raise HeadError(
                f"Head {name!r}: class_weights='balanced' counts training rows and has seen none; "
                "train with manyheads.train, or give one weight per label"
            )
        return cast("Tensor | None", self.class_weights)


def _columns(head: Head) -> list[Tensor]:
    """Return the columns of a linear head's weights that belong to each tap, (outputs, width)."""
    return list(torch.split(head.output.weight.detach(), list(head.widths), dim=1))


def _equal(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two readers have equal tensors."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _trunk(width: int, sizes: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [nn.Dropout(dropout), nn.Linear(width, size), nn.GELU()]
        width = size
    return nn.Sequential(*layers)


def _given_weights(spec: HeadSpec) -> Tensor | None:
    if spec.class_weights is None or isinstance(spec.class_weights, str):
        return None
    return torch.tensor(spec.class_weights, dtype=torch.float32)
