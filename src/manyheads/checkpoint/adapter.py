"""``adapter/``: LoRA adapters in PEFT's own format, for PEFT to read; bound to ``heads.json`` by checksums.

Where they lie is a rule, never read from a file: the first adapter in ``adapter/``, each further one in a folder in
there that is called as its branch is. PEFT reads neither file here: both are audited, then the branch is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from manyheads.backbone.branches.branch import Branch
from manyheads.backbone.branches.lora import LoRABranch, LoRASettings
from manyheads.checkpoint.format import HEADS_JSON, BranchRecord
from manyheads.errors import BackboneError, CorruptCheckpointError, listed, one_line
from manyheads.runtime.hashes import file_digest

FOLDER = "adapter"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
FILES = (CONFIG, WEIGHTS)


def adapter_places(kinds: Mapping[str, str]) -> dict[str, Path]:
    """Return where each branch's adapter lies in a saved folder.

    Args:
        kinds: Branch name -> kind, in order; only adapters have a place.
    """
    names = [name for name, kind in kinds.items() if kind == LoRABranch.kind]
    return {name: Path(FOLDER, name) if number else Path(FOLDER) for number, name in enumerate(names)}


def write_adapters(folder: Path, branches: Mapping[str, Branch], base: str | None) -> dict[str, dict[str, str]]:
    """Write every adapter, and return by branch its files with their SHA-256.

    Args:
        folder: The saved model's.
        branches: All branches that are saved.
        base: The path or hub id of the backbone, if it has one.
    """
    written: dict[str, dict[str, str]] = {}
    for name, place in adapter_places({name: branch.kind for name, branch in branches.items()}).items():
        branch = cast(LoRABranch, branches[name])
        here = folder / place
        here.mkdir()
        text = json.dumps(branch.peft_config(base), ensure_ascii=False, indent=2, sort_keys=True)
        (here / CONFIG).write_text(text + "\n", encoding="utf-8")
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in branch.trainable_parameters().items()}
        save_file(tensors, here / WEIGHTS, metadata={"format": "pt"})
        written[name] = {file: file_digest(here / file) for file in FILES}
    return written


def read_adapters(folder: Path, branches: Mapping[str, BranchRecord]) -> dict[str, dict[str, Tensor]]:
    """Read and audit every adapter that ``heads.json`` declares.

    Raises:
        CorruptCheckpointError: files that are missing, lead elsewhere, or differ from what was saved.
    """
    places = adapter_places({name: record.kind for name, record in branches.items()})
    for name, record in branches.items():
        if set(record.files) != (set(FILES) if name in places else set()):
            raise CorruptCheckpointError(
                f"{folder / HEADS_JSON}: branch {name!r}: a {record.kind} is not held by {listed(record.files)}"
            )
    return {name: _read(folder, place, name, branches[name]) for name, place in places.items()}


def _read(folder: Path, place: Path, name: str, record: BranchRecord) -> dict[str, Tensor]:
    here = folder / place
    if here.is_dir() and here.resolve() != folder.resolve() / place:
        raise CorruptCheckpointError(f"{here}: is a link that leads elsewhere; put the adapter itself there")
    for file in FILES:
        if not (here / file).is_file():
            raise CorruptCheckpointError(f"{here / file}: is missing, so branch {name!r} has no adapter; restore it")
        if file_digest(here / file) != record.files.get(file):
            raise CorruptCheckpointError(f"{here / file}: differs from the checksum in {HEADS_JSON}; restore it")
    try:
        low_rank = LoRASettings.from_json(record.settings)
    except BackboneError as error:
        raise CorruptCheckpointError(f"{folder / HEADS_JSON}: branch {name!r}: {error}") from None
    _audit_config(here / CONFIG, low_rank)
    return _audited_weights(here / WEIGHTS, low_rank)


def _audit_config(path: Path, low_rank: LoRASettings) -> None:
    """Refuse a config by which PEFT would compute something else than the branch does."""
    try:
        said: Any = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path}: is not JSON ({one_line(error)}); restore it") from None
    if not isinstance(said, Mapping):
        raise CorruptCheckpointError(f"{path}: must be an object, got {type(said).__name__}")
    wrong = [key for key, value in low_rank.to_peft().items() if key not in said or said[key] != value]
    if wrong:
        raise CorruptCheckpointError(f"{path}: says of {listed(wrong)} something else than {HEADS_JSON}")


def _audited_weights(path: Path, low_rank: LoRASettings) -> dict[str, Tensor]:
    """Return the weights: a forged rank must not cost gigabytes before the tensors contradict it."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptCheckpointError(f"{path}: is not a safetensors file ({one_line(error)}); restore it") from None
    ranks = low_rank.rank_axes()
    apart = sorted(set(ranks) ^ set(tensors))
    if apart:
        raise CorruptCheckpointError(f"{path}: {listed(apart, most=2)} in only one of file and {HEADS_JSON}")
    for key, tensor in tensors.items():
        if tensor.dim() != 2 or tensor.shape[ranks[key]] != low_rank.r:
            raise CorruptCheckpointError(f"{path}: {key} has shape {list(tensor.shape)}, the rank is {low_rank.r}")
    return tensors
