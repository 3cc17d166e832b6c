"""PEFT adapters: an adapter folder is merged into its base model when loaded, a model object's when it is saved."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from manyheads.errors import BackboneError, MissingExtraError, UnknownBackboneError, listed, one_line

CONFIG = "adapter_config.json"

# Adapter types whose change of the weights is a sum, with the tasks that keep the base model's class.
_MERGEABLE = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "VERA", "HRA")
_TASKS = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM", "FEATURE_EXTRACTION")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder contains a PEFT adapter and no model of its own."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def base_of(folder: Path) -> str:
    """Return the path or hub id of the model that an adapter belongs to.

    Raises:
        BackboneError: an adapter that cannot be merged into its base model.
        UnknownBackboneError: an unreadable config, or one that names no base model.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        kind, task, base = config["peft_type"], config.get("task_type"), config.get("base_model_name_or_path")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnknownBackboneError(f"{folder / CONFIG}: cannot be read: {one_line(error)}; restore it") from None
    if kind not in _MERGEABLE or task not in _TASKS:
        raise BackboneError(
            f"{folder}: is a PEFT adapter of type {kind!r} for {task!r}, which cannot be merged into its base model; "
            f"only {listed(_MERGEABLE, 9)} of language models and encoders can; load the base model instead"
        )
    if not base:
        raise UnknownBackboneError(f"{folder / CONFIG}: names no base model; set 'base_model_name_or_path'")
    return str(base)


def merge_adapter_folder(model: nn.Module, folder: Path) -> nn.Module:
    """Return the base model with the adapter in a folder merged into its weights.

    Raises:
        MissingExtraError: PEFT is not installed.
        BackboneError: the adapter does not fit the model.
    """
    try:
        import peft
    except ImportError:
        raise MissingExtraError("A PEFT adapter needs peft: pip install 'manyheads[finetune]'") from None
    try:
        adapted: Any = peft.PeftModel.from_pretrained(model, str(folder))
        merged: nn.Module = adapted.merge_and_unload(safe_merge=True)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise BackboneError(f"{folder}: does not fit {type(model).__name__}: {one_line(error)}") from error
    return merged.requires_grad_(True)


def has_adapters(model: nn.Module) -> bool:
    """Return whether a model object contains PEFT adapters: a ``PeftModel``, or what transformers loads from one."""
    return bool(getattr(model, "peft_config", None) or getattr(model, "_hf_peft_config_loaded", False))


def merged_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model with its adapters merged into its weights; its class is the base model's.

    Raises:
        BackboneError: adapters that are not a change of weights.
    """
    copied: Any = copy.deepcopy(model)
    if hasattr(copied, "merge_and_unload"):
        return cast(nn.Module, copied.merge_and_unload(safe_merge=True))
    for name, module in list(copied.named_modules()):
        if hasattr(module, "get_base_layer") and hasattr(module, "merge"):
            module.merge(safe_merge=True)
            parent, _, attribute = name.rpartition(".")
            setattr(copied.get_submodule(parent), attribute, module.get_base_layer())
    # When transformers saves a model with these attributes, it names the weights as those of an adapter.
    for attribute in ("_hf_peft_config_loaded", "peft_config", "_weight_conversions"):
        vars(copied).pop(attribute, None)
    return cast(nn.Module, copied)


def check_mergeable(model: nn.Module) -> None:
    """Check that a model object contains no PEFT adapters, or such that can be merged into its weights.

    Raises:
        BackboneError: others, which could not be saved as a plain checkpoint.
    """
    if not has_adapters(model):
        return
    settings: Any = model.peft_config
    for name, config in settings.items():
        if config.is_prompt_learning or getattr(config, "modules_to_save", None):
            raise BackboneError(
                f"{type(model).__name__}: its PEFT adapter {name!r} ({config.peft_type.value}) cannot be merged into "
                "its weights, so it could not be saved; wrap a model without that adapter"
            )
