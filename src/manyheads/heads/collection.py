"""Named heads, in the order they were added, and their logits in as few matrix products as there are taps."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.errors import HeadNameError, UnknownHeadError, did_you_mean, listed
from manyheads.heads.module import Head
from manyheads.taps import Tap
from manyheads.types import Features

RESERVED = frozenset({"lm"})

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
            raise UnknownHeadError(f"No head {name!r}{did_you_mean(name, self)} The heads: {listed(self)}")
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
        """
        check_name(name)
        if name in self:
            raise HeadNameError(f"Head {name!r} exists already; remove_head({name!r}) first, or choose another name")
        self.add_module(_PREFIX + name, head)

    def remove(self, name: str) -> None:
        """Take a head away.

        Raises:
            UnknownHeadError: there is none of that name.
        """
        self[name]
        del self._modules[_PREFIX + name]

    def chosen(self, names: Iterable[str] | None) -> dict[str, Head]:
        """Return the heads of these names, or all, in the collection's order.

        Raises:
            UnknownHeadError: a name that no head has.
            HeadNameError: a single string where names were expected.
        """
        if names is None:
            return dict(self.items())
        if isinstance(names, str):
            raise HeadNameError(f"heads takes a list of names, got {names!r}; write heads=[{names!r}]")
        wanted = {name: self[name] for name in names}
        return {name: wanted[name] for name in self if name in wanted}

    def forward(
        self,
        read: Mapping[Tap, Features],
        names: Iterable[str] | None = None,
        labelled: Container[str] = (),
    ) -> dict[str, Tensor]:
        """Return logits by head name; linear heads that read the same taps are one matrix product.

        Where gradients are recorded, only labelled heads share a product: the gradient of a shared one is zeros, not
        none, for a head without labels, and zeros make AdamW move it.

        Args:
            read: Features by tap.
            names: Heads to run; all by default.
            labelled: Names of those with a label in this batch.

        Returns:
            fp32 (rows, outputs) by head name.
        """
        heads = self.chosen(names)
        shared = {
            name: head
            for name, head in heads.items()
            if head.stackable and (name in labelled or not torch.is_grad_enabled())
        }
        logits: dict[str, Tensor] = {}
        for group in _stacks(shared).values():
            logits |= _joint_logits(group, read)
        logits |= {name: head(head.features(read)) for name, head in heads.items() if name not in shared}
        return {name: logits[name] for name in heads}


def check_name(name: object) -> None:
    """Refuse a name that no head may have.

    Raises:
        HeadNameError: not a string, empty, reserved, or with a dot, a slash, outer blanks or control characters.
    """
    if not isinstance(name, str) or not name:
        raise HeadNameError(f"A head's name must be a non-empty string, got {name!r}")
    if name in RESERVED:
        raise HeadNameError(f"Head name {name!r} is reserved for the language model; choose another name")
    if any(letter in "./\\" for letter in name):
        raise HeadNameError(f"Head name {name!r} must hold no dot and no slash, which part names in files; use '_'")
    if name != name.strip() or any(unicodedata.category(letter) == "Cc" for letter in name):
        raise HeadNameError(f"Head name {name!r} must hold no outer blanks and no control characters")


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
