"""Where a served model is saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from manyheads.checkpoint.open_model import open_model
from manyheads.core import HeadedCore
from manyheads.types import Tokenizer

# Types of floating-point numbers that no weight of a float32 model has.
_OTHERS = frozenset({"F16", "BF16", "F64"})


@dataclass(frozen=True)
class SavedModel:
    """Where a model is saved.

    Attributes:
        name: Its folder or hub id.
        trust_remote_code: Whether Python code in it may run.
    """

    name: str
    trust_remote_code: bool = False

    @property
    def public_name(self) -> str:
        """What clients call it: a folder by its last part, as its path is nobody's business, or its hub id."""
        folder = Path(self.name)
        return folder.resolve().name if folder.is_dir() else self.name

    def open(self) -> tuple[HeadedCore, Tokenizer | None]:
        """Load it.

        Raises:
            BackboneError: the backbone cannot be loaded.
            CheckpointError: its heads cannot.
        """
        return open_model(self.name, trust_remote_code=self.trust_remote_code)

    @property
    def is_float32(self) -> bool:
        """Whether its weights are surely loaded as float32: by its config, or else by all of its weights."""
        folder = Path(self.name)
        try:
            config = json.loads((folder / "config.json").read_bytes())
            named = config.get("dtype") or config.get("torch_dtype")
            return named == "float32" if named else _has_float32_weights(folder)
        except (OSError, ValueError, AttributeError, SafetensorError):
            return False


def _has_float32_weights(folder: Path) -> bool:
    files = sorted(folder.glob("model*.safetensors"))
    return bool(files) and not any(_dtypes(file) & _OTHERS for file in files)


def _dtypes(file: Path) -> set[str]:
    with safe_open(file, framework="pt") as weights:
        return {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118 - it is no mapping
