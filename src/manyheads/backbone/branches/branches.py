"""The branches of a backbone by name, and how each kind is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from torch import nn

from manyheads.backbone.branches.branch import Branch
from manyheads.backbone.branches.fork import ForkBranch
from manyheads.backbone.branches.lora import LoRABranch, LoRASettings, targets_of
from manyheads.backbone.merged import has_adapters
from manyheads.backbone.trunk import Trunk
from manyheads.errors import BackboneError, listed


class Branches(nn.ModuleDict):
    """Branch name -> branch.

    Args:
        owner: Name of the backbone, for messages.
    """

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.owner = owner

    def named(self, name: str) -> Branch:
        """Return a branch by its name.

        Raises:
            BackboneError: there is no such branch.
        """
        if name not in self:
            raise BackboneError(f"{self.owner}: has no branch {name!r}; its branches: {listed(self)}")
        return cast(Branch, self[name])

    def adapter(self, name: str) -> LoRABranch:
        """Return a LoRA branch by its name.

        Raises:
            BackboneError: there is no such branch, or it is of another kind.
        """
        branch = self.named(name)
        if not isinstance(branch, LoRABranch):
            raise BackboneError(f"{self.owner}: branch {name!r} is a {branch.kind}, which has no adapter to merge")
        return branch

    def adapter_name(self, name: str | None) -> str:
        """Return the name of a LoRA branch; the only one for ``None``.

        Raises:
            BackboneError: there is no such adapter, or there are several and ``name`` is ``None``.
        """
        names = [found for found, branch in self.items() if isinstance(branch, LoRABranch)]
        if name in names or (name is None and len(names) == 1):
            return name or names[0]
        problem = "the adapter must be named" if name is None else f"has no adapter {name!r}"
        raise BackboneError(f"{self.owner}: {problem}; its adapters: {listed(names)}")

    def free_name(self, base: str) -> str:
        """Return ``base``, with a number appended if a branch has that name."""
        names = [base, *(f"{base}{number}" for number in range(2, len(self) + 3))]
        return next(name for name in names if name not in self)


def build_fork(trunk: Trunk, top: int) -> ForkBranch:
    """Return a new fork of the top blocks.

    Raises:
        BackboneError: the stack has fewer blocks, or no separate blocks.
    """
    _check_plain(trunk)
    return ForkBranch(trunk.stack, trunk.pooler, trunk.reader, top, trunk.unread_pooler)


def _check_plain(trunk: Trunk) -> None:
    if has_adapters(trunk.model):
        raise BackboneError(
            f"{trunk.name}: contains a PEFT adapter, so its layers cannot be copied; wrap the merged model "
            "(model.merge_and_unload()), or load the adapter's folder with HeadedModel.from_pretrained"
        )


def lora_targets(trunk: Trunk, targets: str | Sequence[str]) -> tuple[str, ...]:
    """Return the full names of the linear layers to adapt; see ``targets_of``.

    Raises:
        BackboneError: no such layer, or a layer that cannot be adapted.
    """
    return targets_of(trunk.stack, trunk.path, trunk.layers, targets)


def build_lora(trunk: Trunk, settings: LoRASettings, seed: int = 0) -> LoRABranch:
    """Return a new copy of the stack with adapters.

    Raises:
        BackboneError: PEFT cannot adapt a target layer.
        MissingExtraError: PEFT is not installed.
    """
    _check_plain(trunk)
    return LoRABranch(trunk.stack, trunk.pooler, trunk.reader, trunk.path, settings, seed)


def build_branch(trunk: Trunk, kind: str, settings: Mapping[str, Any]) -> Branch:
    """Return an untrained branch from the output of ``Branch.settings``.

    Raises:
        BackboneError: an unknown kind, or settings that do not fit the backbone.
    """
    if kind == LoRABranch.kind:
        lora = LoRASettings.from_json(settings)
        return build_lora(trunk, replace(lora, targets=lora_targets(trunk, lora.targets)))
    top = settings.get("top")
    if kind != ForkBranch.kind or set(settings) != {"top"} or type(top) is not int or top < 1:
        raise BackboneError(f"{trunk.name}: cannot build a branch {kind!r} with {dict(settings)!r:.200}")
    return build_fork(trunk, top)
