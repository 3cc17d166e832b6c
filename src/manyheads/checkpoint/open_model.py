"""Open a model by path or hub id: its backbone, its saved heads and its tokenizer, without the face around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from manyheads.backbone import load_backbone
from manyheads.backbone.identity.download import commit_of
from manyheads.backbone.identity.identity import Origin
from manyheads.backbone.identity.source import locate
from manyheads.backbone.load import load_tokenizer, tokenizer_in, wrap_model
from manyheads.backbone.merged import is_adapter
from manyheads.backbone.stock import NAME as STOCK_NAME
from manyheads.backbone.stock import has_stock_head, stock_head
from manyheads.checkpoint.format import BackboneRecord, saved_files
from manyheads.checkpoint.load import (
    attach_heads,
    check_backbone,
    check_same_backbone,
    check_same_tokenizer,
    is_checkpoint,
    open_checkpoint,
)
from manyheads.core import HeadedCore
from manyheads.core.prompt_tokenizer import use_tokenizer
from manyheads.errors import CheckpointError, UnknownBackboneError, UnknownHeadError, listed
from manyheads.heads import Head
from manyheads.runtime.folders import held, read_whole, recover
from manyheads.runtime.progress import spinner
from manyheads.types import Tokenizer


def open_model(
    name: str | Path,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    quantization_config: Any = None,
    backbone: str | Path | None = None,
) -> tuple[HeadedCore, Tokenizer | None]:
    """Load a checkpoint in eval mode; arguments and errors are those of ``HeadedModel.from_pretrained``.

    Returns:
        The backbone with its heads, and the tokenizer, or ``None`` if the checkpoint has none.
    """
    folder = saved_folder(name, revision, trust_remote_code)

    def read() -> tuple[HeadedCore, Tokenizer | None]:
        return _read(name, folder, dtype, device, revision, trust_remote_code, quantization_config, backbone)

    return read_whole(folder, saved_files, read)


def _read(
    name: str | Path,
    folder: Path,
    dtype: torch.dtype | str | None,
    device: torch.device | str | None,
    revision: str | None,
    trust_remote_code: bool,
    quantization_config: Any,
    backbone: str | Path | None,
) -> tuple[HeadedCore, Tokenizer | None]:
    opened = open_checkpoint(folder) if is_checkpoint(folder) else None
    revision = _pinned(name, folder, revision)
    if backbone is not None and (opened is None or opened.checkpoint.backbone.kind != "reference"):
        raise CheckpointError(f"{name}: contains its own backbone; remove backbone=")
    target, target_revision = (name, revision)
    if opened is not None:
        target, target_revision = _backbone_of(name, revision, opened.checkpoint.backbone, backbone)
    with spinner("Loading the backbone"):
        loaded = load_backbone(
            target,
            dtype=dtype,
            device=device,
            revision=target_revision,
            trust_remote_code=trust_remote_code,
            quantization_config=quantization_config,
        )
    assert loaded.source is not None
    core = HeadedCore(loaded).eval()
    tokenizer = tokenizer_in(folder, trust_remote_code) if is_adapter(folder) else None
    tokenizer = tokenizer or load_tokenizer(loaded.source, trust_remote_code)
    use_tokenizer(core, tokenizer)
    if opened is None:
        _add_stock_head(core)
    else:
        check_backbone(opened, loaded)
        record = opened.checkpoint.backbone
        loaded.use_origin(Origin(record.base, record.tuned))
        check_same_tokenizer(opened, tokenizer)
        loaded.use_token_budget(record.token_budget)
        attach_heads(core, opened, {saved: saved for saved in opened.checkpoint.heads})
    return core, tokenizer


def saved_folder(name: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Path:
    """Return the folder of a path or hub id, after completing a save that was interrupted there.

    Raises:
        UnknownBackboneError: neither a folder nor a hub repository.
    """
    recover(Path(name), saved_files)
    try:
        return locate(name, revision, trust_remote_code)
    except UnknownBackboneError:
        with held(Path(name).absolute()):  # absent for a moment only, if another process replaces it
            if not Path(name).is_dir():
                raise
        return locate(name, revision, trust_remote_code)


def core_around(model: nn.Module) -> HeadedCore:
    """Return a core module around a Hugging Face model object, in that object's mode."""
    core = HeadedCore(wrap_model(model))
    core.heads.train(model.training)
    core.training = core.backbone.training = model.training
    _add_stock_head(core)
    return core


def load_head(
    core: HeadedCore, tokenizer: Tokenizer | None, folder: Path, name: str | None = None, head: str | None = None
) -> Head:
    """Attach one saved head; arguments and errors are those of ``HeadedModel.load_head``."""
    opened = read_whole(folder, saved_files, lambda: open_checkpoint(folder))
    saved = list(opened.checkpoint.heads)
    wanted = head if head is not None else (saved[0] if len(saved) == 1 else None)
    if wanted not in saved:
        raise UnknownHeadError(f"{folder}: contains the heads {listed(saved)}; select one with head=")
    check_same_backbone(opened, core.backbone)
    check_same_tokenizer(opened, tokenizer)
    attach_heads(core, opened, {wanted: name or wanted})
    return core.heads[name or wanted]


def _add_stock_head(core: HeadedCore) -> None:
    if has_stock_head(core.backbone):
        core.heads.add(STOCK_NAME, stock_head(core.backbone))


def _backbone_of(
    name: str | Path, revision: str | None, record: BackboneRecord, override: str | Path | None
) -> tuple[str | Path, str | None]:
    """Return the path or hub id of a saved model's backbone, and its revision."""
    if record.kind == "full":
        return name, revision
    if record.kind == "heads":
        raise CheckpointError(
            f"{name}: contains heads without a backbone; load their backbone, then call load_head({str(name)!r})"
        )
    target, target_revision = (override, None) if override is not None else (str(record.name), record.revision)
    try:
        return target, _pinned(target, locate(target, target_revision), target_revision)
    except UnknownBackboneError as error:
        raise UnknownBackboneError(f"{name}: its backbone has moved: {error}; or pass backbone=") from None


def _pinned(name: str | Path, folder: Path, revision: str | None) -> str | None:
    """Return the commit in a folder of the hub's cache, so that all files come from it, also if another is pushed."""
    return revision if Path(name).expanduser().is_dir() else commit_of(folder) or revision
