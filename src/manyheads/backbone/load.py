"""Load a backbone with the class that its config names, and no random weights.

This is the only module that chooses transformers' model classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from manyheads.backbone.backbone import Backbone
from manyheads.backbone.identity.identity import Provenance
from manyheads.backbone.identity.source import Source, locate, resolve_source
from manyheads.backbone.merged import base_of, check_mergeable, is_adapter, merge_adapter_folder
from manyheads.backbone.pooler import load_separate_pooler
from manyheads.backbone.quiet import transformers_quiet
from manyheads.backbone.stack.find import find_stack
from manyheads.errors import IncompleteBackboneError, UnknownBackboneError, listed, one_line
from manyheads.types import Tokenizer


def load_backbone(
    name: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    quantization_config: Any = None,
) -> Backbone:
    """Load a checkpoint with the class that its config names.

    Args:
        name: A folder or a hub id; a folder with a PEFT adapter is merged into its base model.
        dtype: Precision of the weights; ``None`` for transformers' default, the checkpoint's own.
        device: Device of the weights; ``None`` for transformers' default.
        revision: Revision of a hub repository.
        trust_remote_code: Whether Python code in the checkpoint may run.
        quantization_config: As in transformers.

    Raises:
        UnknownBackboneError: no such checkpoint, or an unknown architecture.
        IncompleteBackboneError: weights are missing or have other shapes.
    """
    adapter = locate(name, revision, trust_remote_code)
    if is_adapter(adapter):
        base = load_backbone(base_of(adapter), dtype=dtype, device=device, trust_remote_code=trust_remote_code)
        with transformers_quiet():
            return base.with_model(merge_adapter_folder(base.model, adapter).eval())
    source = resolve_source(name, revision, trust_remote_code)
    model_class = _model_class(source, trust_remote_code)
    settings = {"dtype": dtype, "quantization_config": quantization_config}
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        with transformers_quiet():
            model, report = model_class.from_pretrained(
                source.folder, output_loading_info=True, trust_remote_code=trust_remote_code, **given
            )
    except (OSError, SafetensorError) as error:
        raise UnknownBackboneError(
            f"{source.name}: its weights cannot be read: {one_line(error)}; restore them"
        ) from error
    random_pooler = _check_weights(source, report)
    if device is not None:
        model = model.to(device)
    pooler = load_separate_pooler(find_stack(model), source.weight_files, sorted(report["unexpected_keys"]))
    dtype_chosen = dtype not in (None, "auto") or quantization_config is not None
    return Backbone(model.eval(), Provenance.loaded(model, source, dtype_chosen), pooler, random_pooler)


def load_tokenizer(source: Source, trust_remote_code: bool = False) -> Tokenizer | None:
    """Return the checkpoint's tokenizer, or ``None`` if it has none."""
    return tokenizer_in(source.folder, trust_remote_code)


def read_tokenizer(name: str | Path, trust_remote_code: bool = False) -> Tokenizer | None:
    """Return the tokenizer of a folder or hub id, or ``None`` if it has none; no weights are downloaded.

    Raises:
        UnknownBackboneError: no such folder or hub repository.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return tokenizer_in(folder, trust_remote_code)
    try:
        return _auto_tokenizer(str(name), trust_remote_code)
    except (OSError, ValueError) as error:
        raise UnknownBackboneError(
            f"{name}: no such folder, and no tokenizer on the hub: {one_line(error)}; check the path"
        ) from None


def tokenizer_in(folder: Path, trust_remote_code: bool = False) -> Tokenizer | None:
    """Return the tokenizer in a folder, or ``None`` if it has none.

    Raises:
        UnknownBackboneError: its files are damaged.
    """
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
    if not any((folder / name).is_file() for name in names):
        return None
    try:
        return _auto_tokenizer(folder, trust_remote_code)
    except ImportError:  # a tokenizer that needs another package; transformers names it
        raise
    except Exception as error:  # tokenizers raises bare exceptions for files that it cannot parse
        raise UnknownBackboneError(f"{folder}: its tokenizer cannot be read: {one_line(error)}; restore it") from error


def _auto_tokenizer(name: str | Path, trust_remote_code: bool) -> Tokenizer:
    with transformers_quiet():
        return cast(Tokenizer, transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code))


def _model_class(source: Source, trust_remote_code: bool) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(source.folder, trust_remote_code=trust_remote_code)
    except (ValueError, KeyError, OSError) as error:
        raise UnknownBackboneError(f"{source.name}: its config.json cannot be used: {one_line(error)}") from error
    names = config.architectures or []
    if not names:
        return transformers.AutoModel
    found = getattr(transformers, names[0], None)
    if found is not None:
        return found
    for auto, path in (getattr(config, "auto_map", None) or {}).items():
        if trust_remote_code and str(path).endswith(f".{names[0]}"):
            return getattr(transformers, auto)
    raise UnknownBackboneError(
        f"{source.name}: transformers {transformers.__version__} has no class {names[0]!r}; "
        "update transformers, or pass trust_remote_code=True if the checkpoint contains the class"
    )


def _check_weights(source: Source, report: dict[str, Any]) -> bool:
    """Raise if a weight was initialized at random; return whether a pooler was, which is then never read."""
    missing: Sequence[str] = sorted(report["missing_keys"])
    poolers = [name for name in missing if ".pooler." in f".{name}"]
    random = [name for name in missing if name not in poolers]
    random += sorted(str(item[0] if isinstance(item, tuple) else item) for item in report["mismatched_keys"])
    if random:
        raise IncompleteBackboneError(
            f"{source.name}: {len(random)} weights are missing from its files or have other shapes, and would be "
            f"random: {listed(random, most=4)}; correct 'architectures' in its config.json, or save the model again"
        )
    return bool(poolers)


def wrap_model(model: nn.Module) -> Backbone:
    """Return a backbone around a model object; its mode stays as it is.

    Raises:
        BackboneError: it contains PEFT adapters that cannot be merged into its weights.
    """
    check_mergeable(model)
    return Backbone(model)
