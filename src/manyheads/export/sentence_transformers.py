"""Export a head as modules of sentence-transformers: Transformer, Pooling, perhaps Normalize, and Dense.

The files are those that sentence-transformers has written since version 2, which versions 5 and 6 and text-embeddings-
inference read. The package itself is not needed to write them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize as unit_length

from manyheads.backbone.stock_classes import build, reload, save, text_encoder_class
from manyheads.checkpoint.card.markdown import code
from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.export.by_head import HeadExporter, Write
from manyheads.export.card import card
from manyheads.export.exporter import Written
from manyheads.export.linear import ExportedHead, Layer
from manyheads.export.notes import notes_on
from manyheads.export.origin import origin, output_names
from manyheads.export.probe import Probe, device_of, encode, probe_of
from manyheads.export.stack import cut_config, load_stack, other_states, pooler_layer
from manyheads.export.tokenizer import exported_tokenizer
from manyheads.taps import Hidden
from manyheads.taps.pooling import POOLINGS

# Our pooling -> the key of sentence-transformers' pooling.
_POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "last": "pooling_mode_lasttoken",
}
_IDENTITY = "torch.nn.modules.linear.Identity"
_GELU, _TANH = "torch.nn.modules.activation.GELU", "torch.nn.modules.activation.Tanh"
_ACTIVATIONS: dict[str, nn.Module] = {_IDENTITY: nn.Identity(), _GELU: nn.GELU(), _TANH: nn.Tanh()}
_MODULES = "sentence_transformers.models."

_SNIPPET = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".")  # the folder of this file, or its hub id
print(model.encode(["A text."]))  # logits
```"""

# A fully connected layer, and the name of the activation after it.
Dense = tuple[Layer, str]


class SentenceTransformersExporter(HeadExporter):
    """Writes a ``SentenceTransformer`` whose embeddings are the logits of a head."""

    name: ClassVar[str] = "sentence-transformers"
    purpose: ClassVar[str] = "modules whose embeddings are the head's logits"

    def prepare(self, core: HeadedCore, tokenizer: Any, head: ExportedHead) -> Write:
        """Build the encoder; see ``HeadExporter``."""
        tap = _pooled_tap(head)
        own_tokenizer = exported_tokenizer(tokenizer, core.backbone, head.owner)
        config = cut_config(core, head)
        config.manyheads = origin(head)
        model = build(_class_for(config, head), config, core.backbone.device)
        load_stack(model, core, head)
        probe = probe_of(core, tokenizer, head)
        pooler = pooler_layer(core, head)
        layers = [*_dense_layers(head)] if pooler is None else [(pooler, _TANH), *_dense_layers(head)]
        if not probe.agrees(_embeddings(model, own_tokenizer, tap, layers, probe)):
            raise ExportError(f"{head.owner}: {_reason(core, head, model)}")
        notes = notes_on(core, head, own_tokenizer, probe)

        def write(folder: Path) -> Written:
            save(model, own_tokenizer, folder)
            _write_modules(folder, tap, layers, own_tokenizer)
            again = reload(type(model), folder, core.backbone.device)
            difference = probe.difference(_embeddings(again, own_tokenizer, tap, _read_dense(folder), probe))
            return Written(_card(core, head, notes, difference), difference, probe.scale, probe.drift, notes)

        return write


def _reason(core: HeadedCore, head: ExportedHead, model: nn.Module) -> str:
    if isinstance(head.tap, Hidden) and head.tap.pool == "pooler":
        return "reads a pooler that is not one layer with tanh on the first token; export it to transformers"
    return other_states(core, head, type(model).__name__)


def _pooled_tap(head: ExportedHead) -> Hidden:
    """Return the tap; a pooler reads the first token.

    Raises:
        ExportError: sentence-transformers has nothing like it.
    """
    if not isinstance(head.tap, Hidden):
        raise ExportError(
            f"{head.owner}: labels words, and sentence-transformers gives one vector per text; export it to "
            "transformers"
        )
    if head.reads_pairs:
        raise ExportError(
            f"{head.owner}: reads pairs of texts, and sentence-transformers embeds single texts; export it to "
            "transformers"
        )
    return replace(head.tap, pool="cls") if head.tap.pool == "pooler" else head.tap


def _class_for(config: Any, head: ExportedHead) -> Any:
    found = text_encoder_class(config)
    if found is None:
        raise ExportError(
            f"{head.owner}: sentence-transformers runs {config.model_type!r} with its decoder, and heads read the "
            "encoder; use the model itself (model.predict)"
        )
    return found


def _write_modules(folder: Path, tap: Hidden, layers: Sequence[Dense], tokenizer: Any) -> None:
    modules = [_module("", "Transformer"), _module("1_Pooling", "Pooling")]
    modes = {key: name == tap.pool for name, key in _POOLINGS.items()}
    width = layers[0][0].weight.shape[1]
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})
    if tap.normalize:
        modules.append(_module("2_Normalize", "Normalize"))
        (folder / "2_Normalize").mkdir()
    for layer, activation in layers:
        path = f"{len(modules)}_Dense"
        modules.append(_module(path, "Dense"))
        _write_dense(folder / path, layer, activation)
    numbered = [{"idx": place, "name": str(place), **module} for place, module in enumerate(modules)]
    _write_json(folder / "modules.json", numbered)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": _limit(tokenizer), "do_lower_case": False})
    _write_json(folder / "config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"})


def _dense_layers(head: ExportedHead) -> Iterator[Dense]:
    """Yield the fully connected layers, each with its activation."""
    yield from ((layer, _GELU) for layer in head.hidden)
    yield head.output, _IDENTITY


def _module(path: str, kind: str) -> dict[str, str]:
    return {"path": path, "type": f"{_MODULES}{kind}"}


def _write_dense(folder: Path, layer: Layer, activation: str) -> None:
    outputs, inputs = layer.weight.shape
    settings = {"in_features": inputs, "out_features": outputs, "bias": True, "activation_function": activation}
    _write_json(folder / "config.json", settings)
    tensors = {"linear.weight": layer.weight.contiguous(), "linear.bias": layer.bias.contiguous()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _limit(tokenizer: Any) -> int | None:
    """Return the most tokens of a text, or ``None`` for a tokenizer without a limit."""
    return int(tokenizer.model_max_length) if tokenizer.model_max_length < 1_000_000 else None


def _read_dense(folder: Path) -> list[Dense]:
    """Return the written fully connected layers, in their order."""
    layers = []
    for path in sorted(folder.glob("*_Dense"), key=lambda found: int(found.name.split("_")[0])):
        tensors = load_file(path / "model.safetensors")
        settings = json.loads((path / "config.json").read_text("utf-8"))
        layers.append((Layer(tensors["linear.weight"], tensors["linear.bias"]), settings["activation_function"]))
    return layers


@torch.no_grad()
def _embeddings(model: nn.Module, tokenizer: Any, tap: Hidden, layers: Sequence[Dense], probe: Probe) -> Tensor:
    """Return what the modules compute of the probe's texts, fp32 (rows, outputs)."""
    encoded = encode(tokenizer, probe.texts).to(device_of(model))
    states = model(**encoded).last_hidden_state
    vectors = POOLINGS[tap.pool](states, encoded["attention_mask"].bool()).float().cpu()
    vectors = unit_length(vectors) if tap.normalize else vectors
    for layer, activation in layers:
        vectors = _ACTIVATIONS[activation](nn.functional.linear(vectors, layer.weight, layer.bias))
    return vectors


def _card(core: HeadedCore, head: ExportedHead, notes: list[str], difference: float) -> str:
    about = (
        "A head of a [manyheads](https://pypi.org/project/manyheads/) model as modules of sentence-transformers. "
        f"Embeddings are the head's logits, one number per output: the largest difference was {difference:.1g} on the "
        "texts that were compared."
    )
    numbered = [f"{place}. {code(name)}" for place, name in enumerate(output_names(head), 1)]
    sections = {"Use": _SNIPPET, "Outputs, in their order": "\n".join(numbered)}
    metadata = {"library_name": "sentence-transformers", "tags": ["manyheads", "sentence-transformers"]}
    return card(core, head, metadata, about, sections, notes)
