"""Named heads, in the order they were added, and their logits in as few matrix products as there are taps.

A head that reads other heads always follows them. So no two heads read each other, and heads can be evaluated in order.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.errors import HeadError, HeadNameError, UnknownHeadError, did_you_mean, listed
from manyheads.heads.choose import choose_heads, unknown_head
from manyheads.heads.module import Head
from manyheads.heads.names import check_name
from manyheads.taps import BackboneTap, Output, Tap
from manyheads.types import Features

# Submodules get this prefix, so that a head may be called `type` or `train` like nn.Module's own attributes.
_PREFIX = "head_"


class HeadCollection(nn.Module, Mapping[str, Head]):
    """A read-only mapping from names to heads that is also a module."""

    # nn.Module compares by identity and must stay hashable; Mapping would take both away.
    __hash__ = nn.Module.__hash__
    __eq__ = object.__eq__

    def __getitem__(self, name: str) -> Head:
        head = self._modules.get(_PREFIX + name) if isinstance(name, str) else None
        if head is None:
            raise unknown_head(name, self)
        return cast(Head, head)

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(_PREFIX) for name in self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _PREFIX + name in self._modules

    def add(self, name: str, head: Head) -> None:
        """Add a head under a new name.

        Raises:
            HeadNameError: the name is taken, reserved, or cannot name a head.
            HeadError: it reads a head that does not exist or has another number of scores, or it is a token head that
                splits texts differently from another one.
        """
        check_name(name)
        if name in self:
            raise HeadNameError(f"Head {name!r} exists already; remove_head({name!r}) first, or choose another name")
        self.with_score_counts(head.taps)
        self._check_words(name, head)
        self.add_module(_PREFIX + name, head)

    def _check_words(self, name: str, head: Head) -> None:
        """Check that all token heads split texts alike, since all heads read one pass."""
        rule = head.spec.word_rule
        for other, present in self.items():
            if None not in (rule, present.spec.word_rule) and rule != present.spec.word_rule:
                raise HeadError(
                    f"Head {name!r}: splits texts by words={rule!r}, head {other!r} by "
                    f"{present.spec.word_rule!r}; the token heads of a model split alike: give it the same words="
                )

    def remove(self, name: str) -> None:
        """Remove a head.

        Raises:
            UnknownHeadError: no head has this name.
            HeadError: another head reads it.
        """
        self[name]
        readers = self.dependents([name])
        if readers:
            raise HeadError(f"Head {name!r}: is read by {listed(readers)}; remove these heads first")
        del self._modules[_PREFIX + name]

    def chosen(self, names: Iterable[str] | None) -> dict[str, Head]:
        """Return the heads of these names, or all, in the collection's order.

        Raises:
            UnknownHeadError: a name that no head has.
            HeadNameError: a single string where names were expected.
        """
        return choose_heads(self, names)

    def with_dependencies(self, names: Iterable[str]) -> dict[str, Head]:
        """Return these heads and the heads that they read, each after the heads that it reads."""
        wanted = set(names)
        for name in reversed(list(self)):
            if name in wanted:
                wanted |= set(self[name].reads_heads)
        return {name: self[name] for name in self if name in wanted}

    def dependents(self, names: Iterable[str]) -> list[str]:
        """Return the other heads that read any of these, directly or through each other."""
        read = set(names)
        found = []
        for name, head in self.items():
            if name not in read and not read.isdisjoint(head.reads_heads):
                read.add(name)
                found.append(name)
        return found

    def taps_of(self, names: Iterable[str]) -> list[BackboneTap]:
        """Return the backbone taps of these heads and of the heads that they read."""
        return list(dict.fromkeys(tap for head in self.with_dependencies(names).values() for tap in head.backbone_taps))

    def with_score_counts(self, taps: Iterable[Tap]) -> list[Tap]:
        """Return these taps, with the number of scores set on taps of other heads.

        Raises:
            UnknownHeadError: a head that does not exist.
            HeadError: the head labels words, or has fewer scores.
        """
        return [self._sized(tap) if isinstance(tap, Output) else tap for tap in taps]

    def _sized(self, tap: Output) -> Output:
        if tap.head not in self:
            raise UnknownHeadError(
                f"Output: there is no head {tap.head!r} to read{did_you_mean(tap.head, self)} "
                f"The heads: {listed(self)}; add the one that is read first"
            )
        if self[tap.head].spec.by_word:
            raise HeadError(f"Output: head {tap.head!r} labels words, not texts; read another head")
        scores = self[tap.head].spec.score_width
        if tap.scores is not None and tap.scores > scores:
            raise HeadError(f"Output: reads {tap.scores} scores of head {tap.head!r}, which has {scores}")
        return tap if tap.scores is not None else replace(tap, scores=scores)

    def forward(
        self,
        read: Mapping[BackboneTap, Features],
        names: Iterable[str] | None = None,
        labelled: Container[str] = (),
    ) -> dict[str, Tensor]:
        """Return logits by head name; linear heads that read the same taps are one matrix product.

        Heads that only others read are evaluated too, without a gradient, and left out.

        Where gradients are recorded, only labelled heads share a product: the gradient of a shared one is zeros, not
        none, for a head without labels, and zeros make AdamW move it.

        Args:
            read: Features by tap of the backbone.
            names: Heads to run; all by default.
            labelled: Names of those with a label in this batch.

        Returns:
            fp32 (rows, outputs) by head name.
        """
        heads = self.chosen(names)
        everything = self.with_dependencies(heads)
        logits: dict[str, Tensor] = {}
        scores: dict[Tap, Features] = {}
        for stage in _stages(everything):
            features: dict[Tap, Features] = dict(read.items()) | scores
            logits |= self._logits({name: head for name, head in stage.items() if name in heads}, features, labelled)
            with torch.no_grad():
                logits |= self._logits({name: head for name, head in stage.items() if name not in heads}, features, ())
            scores |= _scores_of(stage, logits, everything)
        return {name: logits[name] for name in heads}

    def _logits(
        self, heads: Mapping[str, Head], read: Mapping[Tap, Features], labelled: Container[str]
    ) -> dict[str, Tensor]:
        shared = {
            name: head
            for name, head in heads.items()
            if head.stackable and (name in labelled or not torch.is_grad_enabled())
        }
        logits: dict[str, Tensor] = {}
        for group in _stacks(shared).values():
            logits |= _joint_logits(group, read)
        return logits | {name: head(head.features(read)) for name, head in heads.items() if name not in shared}


def _stages(heads: Mapping[str, Head]) -> list[dict[str, Head]]:
    """Divide heads into groups that read the output of earlier groups only."""
    depth: dict[str, int] = {}
    for name, head in heads.items():
        depth[name] = max((depth[other] + 1 for other in head.reads_heads), default=0)
    stages: list[dict[str, Head]] = [{} for _ in range(max(depth.values(), default=-1) + 1)]
    for name, level in depth.items():
        stages[level][name] = heads[name]
    return stages


def _scores_of(
    stage: Mapping[str, Head], logits: Mapping[str, Tensor], heads: Mapping[str, Head]
) -> dict[Tap, Features]:
    """Return the scores of a stage's heads, for heads that read them."""
    taps = dict.fromkeys(tap for head in heads.values() for tap in head.outputs)
    return {tap: stage[tap.head].detached_scores(logits[tap.head], tap) for tap in taps if tap.head in stage}


def _stacks(heads: Mapping[str, Head]) -> dict[tuple[tuple[Tap, ...], bool], dict[str, Head]]:
    """Group linear heads that read the same taps in the same way."""
    groups: dict[tuple[tuple[Tap, ...], bool], dict[str, Head]] = {}
    for name, head in heads.items():
        groups.setdefault((head.taps, head.spec.detach), {})[name] = head
    return groups


def _joint_logits(heads: Mapping[str, Head], read: Mapping[Tap, Features]) -> dict[str, Tensor]:
    members: Sequence[Head] = list(heads.values())
    vectors = torch.cat([item.values for item in members[0].features(read)], dim=-1)
    weight = torch.cat([head.output.weight for head in members])
    bias = torch.cat([head.output.bias for head in members])
    parts = torch.split(F.linear(vectors, weight, bias), [head.spec.outputs for head in members], dim=-1)
    return dict(zip(heads, parts, strict=True))
