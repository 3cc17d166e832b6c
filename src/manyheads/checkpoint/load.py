"""Open saved heads: parse, audit, then build; and never attach them to another backbone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from manyheads.backbone import Backbone
from manyheads.backbone.branches.branch import Branch, load_trainable
from manyheads.backbone.branches.branches import build_branch
from manyheads.backbone.identity.config import config_digest
from manyheads.backbone.identity.tokenizer import tokenizer_digest
from manyheads.checkpoint.adapter import FOLDER as ADAPTERS
from manyheads.checkpoint.adapter import read_adapters
from manyheads.checkpoint.format import (
    HEADS_JSON,
    HEADS_WEIGHTS,
    BranchRecord,
    Checkpoint,
    HeadRecord,
    read_checkpoint,
)
from manyheads.core import HeadedCore
from manyheads.errors import (
    BackboneError,
    CorruptCheckpointError,
    HeadError,
    ManyheadsError,
    PoolerError,
    WrongBackboneError,
    listed,
    one_line,
)
from manyheads.heads import Head
from manyheads.runtime.hashes import file_digest
from manyheads.taps import Branched, Output, Tap
from manyheads.taps.base import Reader
from manyheads.types import BackboneFacts, Tokenizer


@dataclass(frozen=True)
class Opened:
    """Audited heads, not yet attached to anything.

    Attributes:
        folder: Where they lie.
        checkpoint: The content of ``heads.json``.
        tensors: Head name -> weight name -> tensor.
        branches: Branch name -> weight name -> tensor.
    """

    folder: Path
    checkpoint: Checkpoint
    tensors: Mapping[str, Mapping[str, Tensor]]
    branches: Mapping[str, Mapping[str, Tensor]]


def is_checkpoint(folder: Path) -> bool:
    """Return whether manyheads saved this folder.

    Raises:
        CorruptCheckpointError: it holds heads' weights, but not what they are.
    """
    if (folder / HEADS_WEIGHTS).is_file() and not (folder / HEADS_JSON).is_file():
        raise CorruptCheckpointError(
            f"{folder}: holds {HEADS_WEIGHTS} without {HEADS_JSON}; restore it, or remove both"
        )
    return (folder / HEADS_JSON).is_file()


def open_checkpoint(folder: Path) -> Opened:
    """Read and audit ``heads.json``, ``heads.safetensors`` and ``adapter/``.

    Raises:
        NotACheckpointError: the folder holds no saved heads.
        CorruptCheckpointError: files that contradict themselves, each other or their checksum.
    """
    checkpoint = read_checkpoint(folder)
    path = folder / HEADS_WEIGHTS
    if not path.is_file():
        raise CorruptCheckpointError(f"{path}: is missing, so the heads have no weights; restore it")
    if file_digest(path) != checkpoint.weights:
        raise CorruptCheckpointError(f"{path}: differs from the checksum in {HEADS_JSON}; restore it")
    try:
        stored = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptCheckpointError(f"{path}: is not a safetensors file ({error}); restore it") from None
    inside = {key: tensor for key, tensor in stored.items() if "/" in key}
    mine = {key: tensor for key, tensor in stored.items() if "/" not in key}
    tensors = _audited(path, mine, checkpoint.heads, "head", ".")
    adapters = read_adapters(folder, checkpoint.branches)
    for name, found in adapters.items():
        _audit_tensors(folder / ADAPTERS, f"branch {name!r}", found, checkpoint.branches[name].tensors)
    others = {name: record for name, record in checkpoint.branches.items() if name not in adapters}
    branches = _audited(path, inside, others, "branch", "/")
    return Opened(folder, checkpoint, tensors, {**branches, **adapters})


def check_backbone(opened: Opened, backbone: Backbone) -> None:
    """Check that the backbone of a saved model is the one that its heads were saved with.

    Raises:
        WrongBackboneError: another fingerprint.
    """
    if opened.checkpoint.backbone.kind != "full":
        check_same_backbone(opened, backbone)
    elif backbone.source is None or backbone.source.fingerprint != opened.checkpoint.backbone.fingerprint:
        raise WrongBackboneError(
            f"{opened.folder}: its backbone's files are not those that the heads were saved with; restore them, or "
            "load the backbone from another folder and train its heads again"
        )


def check_same_backbone(opened: Opened, backbone: Backbone) -> None:
    """Check that the heads belong to this backbone.

    Raises:
        WrongBackboneError: another fingerprint.
    """
    recorded = opened.checkpoint.backbone
    digest = backbone.digest()
    same_files = (
        backbone.provenance.in_files(digest) and backbone.provenance.fingerprint(digest) == recorded.fingerprint
    )
    same_tensors = digest == recorded.tensors
    if same_tensors and not same_files and config_digest(backbone.model) != recorded.config:
        raise WrongBackboneError(
            f"{opened.folder}: heads {listed(opened.checkpoint.heads)} were made for this backbone's weights with "
            "another config.json; restore that config, or train new heads"
        )
    if not same_files and not same_tensors:
        raise WrongBackboneError(
            f"{opened.folder}: heads {listed(opened.checkpoint.heads)} were made for another backbone "
            f"({recorded.architecture}, {recorded.name or 'not from files'}); load that one, or train new heads"
        )


def check_same_tokenizer(opened: Opened, tokenizer: Tokenizer | None) -> None:
    """Check that the heads were trained with this tokenizer; without one, only tensors can be given to them.

    Raises:
        WrongBackboneError: another tokenizer.
    """
    recorded = opened.checkpoint.backbone.tokenizer
    if tokenizer is not None and recorded is not None and tokenizer_digest(tokenizer) != recorded:
        raise WrongBackboneError(
            f"{opened.folder}: heads {listed(opened.checkpoint.heads)} were trained with another tokenizer, which "
            "splits texts differently; restore that tokenizer's files, or train new heads"
        )


def attach_heads(core: HeadedCore, opened: Opened, names: Mapping[str, str]) -> None:
    """Build heads from audited tensors and add them to a core module; all of them, or none.

    Args:
        core: Where to.
        opened: From ``open_checkpoint``.
        names: Saved name -> name to have here.

    Raises:
        HeadNameError: a name that is taken.
        HeadError: a head reads one that is neither among them nor here.
        CorruptCheckpointError: tensors whose shapes the spec contradicts.
    """
    added: list[str] = []
    try:
        _check_read(core, opened, names)
        branches = _attached_branches(core, opened, names)
        built = {new: _built(core, opened, old, branches, names) for old, new in names.items()}
        for name, head in built.items():
            core.heads.add(name, head)
            added.append(name)
    except ManyheadsError:
        for name in reversed(added):
            core.heads.remove(name)
        core.prune()
        raise


def _check_read(core: HeadedCore, opened: Opened, names: Mapping[str, str]) -> None:
    """Check that the heads that these read are loaded too, or are already in the model with equal weights."""
    for saved in names:
        for tap in opened.checkpoint.heads[saved].taps:
            if not isinstance(tap, Output) or tap.head in names or _is_here(core, opened, tap.head):
                continue
            raise HeadError(
                f"{opened.folder}: head {saved!r} reads head {tap.head!r}, and there is "
                f"{'another one' if tap.head in core.heads else 'none'} of that name here; load that one first: "
                f"load_head(..., head={tap.head!r})"
            )


def _is_here(core: HeadedCore, opened: Opened, name: str) -> bool:
    """Return whether the model already has a saved head, with equal weights."""
    if name not in core.heads:
        return False
    spec, here = opened.checkpoint.heads[name].spec, core.heads[name]
    kinds = [(one.kind, getattr(one, "labels", ())) for one in (spec, here.spec)]
    mine, theirs = here.state_dict(), opened.tensors[name]
    alike = kinds[0] == kinds[1] and set(mine) == set(theirs)
    return alike and all(torch.equal(mine[key].cpu(), theirs[key]) for key in mine)


def _attached_branches(core: HeadedCore, opened: Opened, names: Iterable[str]) -> dict[str, str]:
    """Put the branches that these heads read beside the backbone; return saved name -> name here.

    A branch that is there already, weight for weight, is not added again: heads of one fork may come one by one.
    """
    taps = [tap for name in names for tap in opened.checkpoint.heads[name].taps]
    here: dict[str, str] = {}
    for saved in dict.fromkeys(tap.branch for tap in taps if isinstance(tap, Branched)):
        record, tensors = opened.checkpoint.branches[saved], opened.branches[saved]
        try:
            branch = build_branch(core.backbone.trunk, record.kind, record.settings)
            load_trainable(branch, tensors)
        except BackboneError as error:
            raise CorruptCheckpointError(f"{opened.folder / HEADS_JSON}: branch {saved!r}: {error}") from None
        twin = next(
            (name for name, other in core.backbone.branches.items() if _same(branch, cast(Branch, other))), None
        )
        here[saved] = twin or core.backbone.branches.free_name(saved)
        if twin is None:
            _put(core, opened, here[saved], branch)
    return here


def _put(core: HeadedCore, opened: Opened, name: str, branch: Branch) -> None:
    try:
        core.backbone.branches[name] = branch.train(core.training)
    except KeyError:
        raise CorruptCheckpointError(f"{opened.folder / HEADS_JSON}: no branch can be named {name!r}") from None


def _same(branch: Branch, other: Branch) -> bool:
    mine, theirs = branch.trainable_parameters(), other.trainable_parameters()
    alike = (branch.kind, branch.settings(), set(mine)) == (other.kind, other.settings(), set(theirs))
    return alike and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _built(core: HeadedCore, opened: Opened, name: str, branches: Mapping[str, str], names: Mapping[str, str]) -> Head:
    record, facts = opened.checkpoint.heads[name], core.backbone.facts
    taps = [_as_here(tap, branches, names) for tap in record.taps]
    try:
        _check_resolved(taps, facts)
        # Without memory first: a forged size must not cost gigabytes before the tensors contradict it.
        with torch.device("meta"):
            head = Head(record.spec, taps, facts)
        _check_shapes(head, record)
        _check_dtypes(opened.folder / HEADS_WEIGHTS, name, head, opened.tensors[name])
        # Copied, not assigned: tensors inside a mapped file are aligned otherwise, and round otherwise.
        head = head.to_empty(device="cpu")
        head.load_state_dict(dict(opened.tensors[name]), strict=True)
        for reader in head.readers:
            cast(Reader, reader).check()
    except (HeadError, PoolerError, RuntimeError, IndexError) as error:
        raise CorruptCheckpointError(f"{opened.folder / HEADS_JSON}: head {name!r}: {one_line(error)}") from None
    head.trained, head.summary, head.decision = record.trained, dict(record.summary), record.decision
    head.set_class_weights(None if record.class_weights is None else torch.tensor(record.class_weights))
    return head.to(core.backbone.device).train(core.training)


def _as_here(tap: Tap, branches: Mapping[str, str], heads: Mapping[str, str]) -> Tap:
    """Return a tap with the names that branches and heads have here."""
    if isinstance(tap, Branched):
        return replace(tap, branch=branches[tap.branch])
    return replace(tap, head=heads.get(tap.head, tap.head)) if isinstance(tap, Output) else tap


def _check_resolved(taps: Iterable[Tap], facts: BackboneFacts) -> None:
    for tap in taps:
        if tap.resolve(facts) != tap:
            raise HeadError(f"reads {tap}, which training would have decided to be {tap.resolve(facts)}")


def _check_shapes(head: Head, record: HeadRecord) -> None:
    expected = {key: list(tensor.shape) for key, tensor in head.state_dict().items()}
    for key in sorted(set(expected) | set(record.tensors)):
        wanted, stored = expected.get(key), record.tensors.get(key)
        if wanted != stored:
            raise HeadError(f"{key}: the spec makes shape {wanted}, the file holds {stored}")


def _check_dtypes(path: Path, name: str, head: Head, stored: Mapping[str, Tensor]) -> None:
    for key, tensor in head.state_dict().items():
        if stored[key].dtype != tensor.dtype:
            raise CorruptCheckpointError(
                f"{path}: head {name!r}: {key} is {stored[key].dtype}, this kind of head has {tensor.dtype}"
            )


def _audited(
    path: Path, stored: Mapping[str, Tensor], declared: Mapping[str, HeadRecord | BranchRecord], what: str, mark: str
) -> dict[str, dict[str, Tensor]]:
    """Return tensors by owner and name; no owner's name holds the mark that ends it, so it ends there, exactly."""
    parts = {key: key.partition(mark) for key in stored}
    strangers = sorted({name for name, _, _ in parts.values()} - set(declared))
    if strangers:
        raise CorruptCheckpointError(f"{path}: weights of {listed(strangers)}, which {HEADS_JSON} does not declare")
    mine: dict[str, dict[str, Tensor]] = {name: {} for name in declared}
    for key, (name, _, weight) in parts.items():
        mine[name][weight] = stored[key]
    for name, record in declared.items():
        _audit_tensors(path, f"{what} {name!r}", mine[name], record.tensors)
    return mine


def _audit_tensors(path: Path, owner: str, tensors: Mapping[str, Tensor], declared: Mapping[str, list[int]]) -> None:
    wrong = sorted(set(tensors) ^ set(declared))
    if wrong:
        raise CorruptCheckpointError(f"{path}: {owner}: {listed(wrong)} in only one of file and {HEADS_JSON}")
    for key, tensor in tensors.items():
        if list(tensor.shape) != declared[key]:
            raise CorruptCheckpointError(
                f"{path}: {owner}: {key} has shape {list(tensor.shape)}, but {HEADS_JSON} declares {declared[key]}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise CorruptCheckpointError(f"{path}: {owner}: {key} holds NaN or infinity")
