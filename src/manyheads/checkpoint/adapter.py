"""``adapter/``: LoRA adapters in PEFT's own format, for PEFT to read; bound to ``heads.json`` by checksums.

The first adapter is in ``adapter/``, each further one in a subfolder with its branch's name; no path is read from a
file. Both files are audited here before the branch is built; PEFT does not read them.
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
    """Return the folder of each branch's adapter inside a saved folder.

    Args:
        kinds: Branch name -> kind, in order; only adapters have a folder.
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
        settings = LoRASettings.from_json(record.settings)
    except BackboneError as error:
        raise CorruptCheckpointError(f"{folder / HEADS_JSON}: branch {name!r}: {error}") from None
    _audit_config(here / CONFIG, settings)
    return _audited_weights(here / WEIGHTS, settings)


def _audit_config(path: Path, settings: LoRASettings) -> None:
    """Check that PEFT would compute the same from this config as the branch does."""
    try:
        config: Any = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path}: is not JSON ({one_line(error)}); restore it") from None
    if not isinstance(config, Mapping):
        raise CorruptCheckpointError(f"{path}: must be an object, got {type(config).__name__}")
    wrong = [key for key, value in settings.to_peft().items() if key not in config or config[key] != value]
    if wrong:
        raise CorruptCheckpointError(f"{path}: differs from {HEADS_JSON} in {listed(wrong)}")


def _audited_weights(path: Path, settings: LoRASettings) -> dict[str, Tensor]:
    """Return the weights, checked before anything is built: a forged rank must not allocate gigabytes."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptCheckpointError(f"{path}: is not a safetensors file ({one_line(error)}); restore it") from None
    ranks = settings.rank_axes()
    apart = sorted(set(ranks) ^ set(tensors))
    if apart:
        raise CorruptCheckpointError(f"{path}: {listed(apart, most=2)} in only one of file and {HEADS_JSON}")
    for key, tensor in tensors.items():
        if tensor.dim() != 2 or tensor.shape[ranks[key]] != settings.r:
            raise CorruptCheckpointError(f"{path}: {key} has shape {list(tensor.shape)}, the rank is {settings.r}")
    return tensors
