"""Save heads with their backbone: its files are copied if the weights are unchanged, else written from memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from manyheads._version import VERSION
from manyheads.backbone import Backbone
from manyheads.backbone.branches.branch import Branch
from manyheads.backbone.identity.config import config_digest
from manyheads.backbone.identity.source import files_fingerprint, resolve_source
from manyheads.backbone.identity.tokenizer import tokenizer_digest
from manyheads.backbone.load import tokenizer_in
from manyheads.backbone.quiet import transformers_quiet
from manyheads.checkpoint.adapter import write_adapters
from manyheads.checkpoint.card.base_card import BaseCard, license_in
from manyheads.checkpoint.card.seal import CARD, is_edited
from manyheads.checkpoint.card.write import write_card
from manyheads.checkpoint.format import (
    HEADS_JSON,
    HEADS_WEIGHTS,
    KINDS,
    BackboneRecord,
    BranchRecord,
    Checkpoint,
    HeadRecord,
    saved_files,
    write_checkpoint,
)
from manyheads.checkpoint.target import check_space, check_target
from manyheads.errors import CheckpointError, ManyheadsError, OutputExistsError, listed, one_line
from manyheads.heads import Head
from manyheads.runtime.files import copy_file
from manyheads.runtime.folders import atomic_folder, held
from manyheads.runtime.hashes import file_digest
from manyheads.runtime.progress import spinner
from manyheads.taps import Branched
from manyheads.types import Tokenizer

# Files that transformers rewrites on saving even if the model is unchanged.
_CONFIGS = ("config.json", "generation_config.json")
# Keys of config.json that a tuned, unquantized backbone may change: they follow from its tensors.
_SHAPE_KEYS = frozenset({"dtype", "torch_dtype", "vocab_size"})


def save_checkpoint(
    folder: Path,
    backbone: Backbone,
    tokenizer: Tokenizer | None,
    heads: Mapping[str, Head],
    kind: str = "full",
    overwrite: bool = False,
    files: Mapping[str, str] | None = None,
) -> None:
    """Save heads and their backbone, atomically.

    Args:
        folder: Where to; it must be new or empty unless ``overwrite``.
        backbone: The backbone.
        tokenizer: Its tokenizer, or ``None``.
        heads: Those to save.
        kind: ``"full"``; ``"reference"`` for heads with the name and fingerprint of a backbone that files hold; or
            ``"heads"`` for heads to be attached to this same backbone, wherever it comes from.
        overwrite: Whether a saved model in that folder may be replaced.
        files: Texts to lay beside them: file name -> contents.

    Raises:
        OutputExistsError: the folder is not free.
        CheckpointError: a reference to a backbone that no files hold as it is, a head without one that it reads, a
            text under a name that is taken, or files that cannot be written, for lack of space for example.
    """
    if kind not in KINDS:
        raise CheckpointError(f"backbone must be 'full' or 'reference', got {kind!r}")
    _check_whole(heads)
    digest = backbone.digest()
    if kind == "reference":
        _check_referable(backbone, digest, tokenizer)
    folder = folder.resolve()
    sources = [] if backbone.source is None else [backbone.source.folder]

    def check() -> None:
        check_target(folder, overwrite, sources)

    with held(folder):
        check()
        _check_keeps_backbone(folder, kind, sources)
        keeps_card = is_edited(folder)
    check_space(folder, saved_size(backbone, heads, kind))
    with spinner("Saving the model"), _writing(folder), atomic_folder(folder, check, saved_files) as fresh:
        if kind == "full":
            _write_backbone(fresh, backbone, tokenizer, digest)
        fingerprint = files_fingerprint(fresh) if kind == "full" else backbone.provenance.fingerprint(digest)
        name, revision = _origin(backbone)
        config, tokens = config_digest(backbone.model), None if tokenizer is None else tokenizer_digest(tokenizer)
        record = BackboneRecord(
            kind,
            backbone.name,
            fingerprint,
            digest,
            config,
            tokens,
            name,
            revision,
            backbone.token_budget,
            *astuple(backbone.provenance.origin(digest)),
        )
        branches = _branches_read(backbone, heads)
        files_of = write_adapters(fresh, branches, name if backbone.provenance.in_files(digest) else None)
        _write_texts(fresh, files or {})
        write_heads(fresh, record, heads, branches, files_of, None if keeps_card else base_card(backbone))
    if kind == "full" and backbone.source is not None and backbone.source.folder.resolve() == folder:
        backbone.mark_saved(resolve_source(backbone.source.name, backbone.source.revision), digest)


def saved_size(backbone: Backbone, heads: Mapping[str, Head], kind: str = "full") -> int:
    """Return about how many bytes a saved model takes."""
    tensors = [tensor for head in heads.values() for tensor in head.state_dict().values()]
    tensors += [
        tensor for branch in _branches_read(backbone, heads).values() for tensor in _branch_weights(branch).values()
    ]
    if kind == "full":
        tensors += backbone.model.parameters()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Raise errors of the disk as errors of this folder."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, ManyheadsError):
            raise
        raise CheckpointError(
            f"{folder}: cannot be written: {one_line(error)}; free some space, or choose another path"
        ) from error


def _check_keeps_backbone(folder: Path, kind: str, sources: list[Path]) -> None:
    if kind != "full" and any(source.resolve() == folder for source in sources):
        raise OutputExistsError(
            f"{folder}: contains the files of this backbone, which would be deleted; choose another path, or save the "
            "model with its backbone (backbone='full')"
        )


def write_heads(
    folder: Path,
    record: BackboneRecord,
    heads: Mapping[str, Head],
    branches: Mapping[str, Branch],
    files: Mapping[str, dict[str, str]],
    card: BaseCard | None,
) -> None:
    """Write ``heads.safetensors``, the model card and ``heads.json``.

    In the file, a head's tensors are named ``head.weight``, a branch's ``branch/weight``: no head's name holds a slash.

    Args:
        folder: Where to.
        record: Which backbone the heads belong to.
        heads: The heads.
        branches: The branches that they read.
        files: By branch, the files that hold it already, with their SHA-256.
        card: Facts on the backbone for the model card; ``None`` to write no card.
    """
    tensors = {f"{name}.{key}": tensor for name, head in heads.items() for key, tensor in _weights(head).items()}
    for name in (name for name in branches if name not in files):
        tensors |= {f"{name}/{key}": tensor for key, tensor in _branch_weights(branches[name]).items()}
    save_file(tensors, folder / HEADS_WEIGHTS, metadata={"format": "pt"})
    digest = file_digest(folder / HEADS_WEIGHTS)
    records = {name: _head_record(head) for name, head in heads.items()}
    beside = {name: _branch_record(branch, files.get(name, {})) for name, branch in branches.items()}
    checkpoint = Checkpoint(record, beside, digest, records, VERSION)
    if card is not None:
        write_card(folder, checkpoint, card)
    write_checkpoint(folder, checkpoint)


def _branch_record(branch: Branch, files: dict[str, str]) -> BranchRecord:
    shapes = {key: list(tensor.shape) for key, tensor in _branch_weights(branch).items()}
    return BranchRecord(branch.kind, branch.settings(), shapes, files)


def _branch_weights(branch: Branch) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in branch.trainable_parameters().items()}


def _branches_read(backbone: Backbone, heads: Mapping[str, Head]) -> dict[str, Branch]:
    taps = [tap for head in heads.values() for tap in head.taps]
    return {tap.branch: backbone.branches.named(tap.branch) for tap in taps if isinstance(tap, Branched)}


def _write_texts(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        if path.name != name or path.exists() or name in (HEADS_WEIGHTS, HEADS_JSON, CARD):
            raise CheckpointError(f"{name!r}: an extra file of a saved model needs a plain name that no other file has")
        path.write_text(text, encoding="utf-8")


def _head_record(head: Head) -> HeadRecord:
    weights = cast("Tensor | None", head.class_weights)
    return HeadRecord(
        spec=head.spec,
        taps=head.taps,
        trained=head.trained,
        class_weights=None if weights is None else weights.tolist(),
        decision=head.decision,
        summary=head.summary,
        tensors={key: list(tensor.shape) for key, tensor in _weights(head).items()},
    )


def _weights(head: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in head.state_dict().items()}


def _check_whole(heads: Mapping[str, Head]) -> None:
    for name, head in heads.items():
        absent = [other for other in head.reads_heads if other not in heads]
        if absent:
            raise CheckpointError(
                f"Head {name!r}: reads {listed(absent)}, which is not saved; save them together with "
                "save_pretrained(..., backbone='reference')"
            )


def _check_referable(backbone: Backbone, digest: str, tokenizer: Tokenizer | None) -> None:
    if backbone.source is None:
        raise CheckpointError(
            f"{backbone.name}: was not loaded from files, so nothing can be referred to; save it full"
        )
    if not backbone.provenance.in_files(digest):
        raise CheckpointError(
            f"{backbone.name}: its weights changed since {backbone.source.name} was loaded, so a reference would "
            "lead to others; save it full"
        )
    if tokenizer is not None and not _has_tokenizer(backbone.source.folder, tokenizer):
        raise CheckpointError(
            f"{backbone.name}: its tokenizer is not the one of {backbone.source.name}, so a reference would lead to "
            "another; save it full"
        )


def _has_tokenizer(folder: Path, tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer in a folder encodes texts like this one."""
    found = tokenizer_in(folder)
    return found is not None and tokenizer_digest(found) == tokenizer_digest(tokenizer)


def _origin(backbone: Backbone) -> tuple[str | None, str | None]:
    """Return the absolute path or hub id that the backbone was loaded by, and its commit."""
    source = backbone.source
    if source is None:
        return None, None
    name = str(source.folder.resolve()) if Path(source.name).expanduser().exists() else source.name
    return name, source.revision


def base_card(backbone: Backbone) -> BaseCard:
    """Return facts on a backbone for the model card."""
    model = type(backbone.model)
    loadable = model.__name__ if model.__module__.startswith("transformers.") else None
    return BaseCard(
        language_model=backbone.lm is not None,
        transformers_class=loadable,
        license={} if backbone.source is None else license_in(backbone.source.folder),
    )


def _write_backbone(folder: Path, backbone: Backbone, tokenizer: Tokenizer | None, digest: str) -> None:
    source = backbone.source
    if source is not None and backbone.provenance.in_files(digest):
        source.check_unchanged()
        for path in source.files:
            copy_file(path, folder / path.name)
        if tokenizer is not None and not _has_tokenizer(folder, tokenizer):
            tokenizer.save_pretrained(folder)
    else:
        write_anew(folder, backbone, tokenizer)


def write_anew(folder: Path, backbone: Backbone, tokenizer: Tokenizer | None) -> None:
    """Write the weights in memory as safetensors; copy unchanged files from the source."""
    plain = backbone.without_adapters()
    model = cast(Any, plain.model)
    with transformers_quiet():
        model.save_pretrained(folder, state_dict=plain.file_tensors())
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    if backbone.source is not None:
        for name in _CONFIGS:
            _restore(backbone.source.folder / name, folder / name)


def _restore(source: Path, written: Path) -> None:
    """Restore the source's config, changing only keys that the new tensors contradict."""
    if not source.is_file():
        written.unlink(missing_ok=True)
        return
    old, new = (
        json.loads(source.read_text("utf-8")),
        json.loads(written.read_text("utf-8")) if written.is_file() else {},
    )
    changed = _with_shapes_of(new, old)
    if changed != old:
        written.write_text(json.dumps(changed, indent=2) + "\n", encoding="utf-8")
    else:
        copy_file(source, written)


def _with_shapes_of(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old config with the keys that follow from the new tensors, also in nested configs."""
    both = {key: (value, new[key]) for key, value in old.items() if key in new}
    nested = {
        key: _with_shapes_of(now, before)
        for key, (before, now) in both.items()
        if isinstance(before, dict) and isinstance(now, dict)
    }
    return {**old, **{key: now for key, (_, now) in both.items() if key in _SHAPE_KEYS}, **nested}
