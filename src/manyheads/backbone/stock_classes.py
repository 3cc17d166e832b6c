"""The classes of transformers into which a trained head can be exported, by the config of a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.models.auto import modeling_auto

from manyheads.backbone.quiet import transformers_quiet


def sequence_classifier_class(config: Any) -> Any:
    """Return the class of ``AutoModelForSequenceClassification`` for a config, or ``None``."""
    return modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)


def token_classifier_class(config: Any) -> Any:
    """Return the class of ``AutoModelForTokenClassification`` for a config, or ``None``."""
    return modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING.get(type(config), None)


def text_encoder_class(config: Any) -> Any:
    """Return the class that sentence-transformers loads for a config, an encoder; or ``None``."""
    if config.is_encoder_decoder:
        return modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(config), None)
    return modeling_auto.MODEL_MAPPING.get(type(config), None)


def build(model_class: Any, config: Any, device: torch.device) -> nn.Module:
    """Return an fp32 model of a class, with initial weights, in eval mode."""
    with torch.random.fork_rng(), transformers_quiet():
        model: nn.Module = model_class(config)
    return model.float().to(device).eval()


def reload(model_class: Any, folder: Path, device: torch.device) -> nn.Module:
    """Return the fp32 model in a folder, in eval mode."""
    with transformers_quiet():
        model: nn.Module = model_class.from_pretrained(folder, dtype=torch.float32)
    return model.to(device).eval()


def save(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer to a folder, as transformers does."""
    with transformers_quiet():
        model.save_pretrained(folder)  # type: ignore[operator]
        tokenizer.save_pretrained(folder)
