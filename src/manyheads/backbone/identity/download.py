"""Download a checkpoint from the Hugging Face hub into the hub's own cache: only the files that loading reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manyheads.backbone.identity.weight_files import shards_of, weight_files
from manyheads.errors import UnknownBackboneError, one_line

CONFIG, ADAPTER_CONFIG, ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
# Configs, the tokenizer and the model card: small files at the top of a repository.
_TEXTS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "README.md")
_CODE = "*.py"
_HEADS = (
    "heads.safetensors",
    *(f"adapter/{folder}{file}" for folder in ("", "*/") for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)),
)
_TEMPLATES = "additional_chat_templates/*.jinja"
_SUBFOLDERS, _PARENTS = "*/*", "*../*"


def download(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Path:
    """Return the folder that a hub repository is downloaded to.

    Weights are downloaded as safetensors. Only a checkpoint that has none is read from PyTorch's files, from which
    transformers takes nothing but tensors (``weights_only=True``).

    Args:
        name: The hub id.
        revision: A branch, tag or commit; the main branch by default.
        trust_remote_code: Whether Python files are downloaded too.

    Raises:
        UnknownBackboneError: no such repository, or it cannot be downloaded.
    """
    with _one_line_errors(name):
        texts = [*_TEXTS, _CODE] if trust_remote_code else [*_TEXTS]
        folder = _snapshot(name, revision, texts, _SUBFOLDERS)
        commit = folder.name
        _snapshot(
            name,
            commit,
            [CONFIG, ADAPTER_CONFIG, *_HEADS, ADAPTER_WEIGHTS, _TEMPLATES, *_weights(folder, "model.safetensors")],
        )
        if not weight_files(folder) and not (folder / ADAPTER_WEIGHTS).is_file():
            others = [*_weights(folder, "pytorch_model.bin"), "adapter_model.bin"]
            _snapshot(name, commit, [CONFIG, ADAPTER_CONFIG, *others])
        return folder


def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder of the hub's cache contains; ``None`` for any other folder."""
    in_cache = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.name if in_cache else None


def _weights(folder: Path, name: str) -> list[str]:
    """Return the names of a backbone's weight files; none for a repository without a backbone."""
    if not (folder / CONFIG).is_file():
        return []
    index = folder / f"{name}.index.json"
    return [name, *(shards_of(index) if index.is_file() else [])]


def _snapshot(name: str, revision: str | None, patterns: Iterable[str], left_out: str = _PARENTS) -> Path:
    from huggingface_hub import snapshot_download

    ignored = [left_out, _PARENTS]
    return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns), ignore_patterns=ignored))


@contextmanager
def _one_line_errors(name: str) -> Iterator[None]:
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        yield
    except UnknownBackboneError:
        raise
    except HFValidationError:
        raise UnknownBackboneError(f"{name}: no such folder, and not a hub id (owner/name); check the path") from None
    except (HTTPError, OSError, ValueError) as error:
        raise UnknownBackboneError(
            f"{name}: no such folder, and it cannot be downloaded from the hub: {one_line(error)}"
        ) from None
