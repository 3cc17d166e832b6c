"""Write an export: the graphs and what stands beside them, compared with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manyheads.backbone.limits import token_limit
from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.export.exporter import Written
from manyheads.export.folder import EXPORT_JSON
from manyheads.export.onnx.bags import write_bags
from manyheads.export.onnx.card import onnx_card
from manyheads.export.onnx.graphs import WEIGHTS, traced_graphs
from manyheads.export.onnx.notes import notes_on
from manyheads.export.onnx.parity import Parity, compare
from manyheads.export.onnx.quantized import Quantization, quantize_export
from manyheads.export.onnx.save import save
from manyheads.export.onnx.settings import OnnxSettings
from manyheads.export.onnx.surroundings import layout_of
from manyheads.export.onnx.tokenizer import write_tokenizer
from manyheads.onnx.layout_file import write_layout
from manyheads.onnx.predictor import OnnxPredictor

# For the comparison, so that no time goes into measuring the fastest number.
_BATCH_TOKENS = 2048


def write_heads(
    core: HeadedCore, tokenizer: Any, names: Sequence[str], settings: OnnxSettings, folder: Path
) -> dict[str, Written]:
    """Write all files but the card and ``export.json``, and compare them with the model.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        names: Names of the heads.
        settings: What the graph contains.
        folder: An empty folder.

    Returns:
        Head name -> what was written for it.

    Raises:
        ExportError: no graph can contain the backbone, the graph would not give the model's logits, or quantized heads
            would not give its answers.
        DataError: a table that cannot be used.
    """
    quantization = Quantization.of(core, names, settings)
    graphs = traced_graphs(core, tokenizer, names, settings.language_model)
    save(graphs.models, folder, WEIGHTS)
    bags = write_bags(core, names, folder)
    write_tokenizer(tokenizer, token_limit(core.backbone.model, tokenizer), folder)
    files = sorted(path.name for path in folder.iterdir())
    write_layout(layout_of(core, tokenizer, names, graphs.heads, bags, files), folder)
    parity = compare(core, tokenizer, names, OnnxPredictor(folder, batch_tokens=_BATCH_TOKENS))
    _check_parity(parity)
    details: Mapping[str, Mapping[str, Any]] = {}
    if quantization is not None:
        details = quantize_export(core, tokenizer, names, graphs, quantization, folder)
    return {name: _written(core, name, one, details.get(name, {})) for name, one in parity.items()}


def together(core: HeadedCore, settings: OnnxSettings, heads: Mapping[str, Written], folder: Path) -> Written:
    """Return what was written for all heads as one."""
    difference, scale, drift = (
        max(getattr(one, part) for one in heads.values()) for part in ("difference", "scale", "drift")
    )
    card = onnx_card(core, settings, heads, frozenset({EXPORT_JSON, *(path.name for path in folder.iterdir())}))
    return Written(card, difference, scale, drift, details={"quantize": settings.quantize, **_details(core, heads)})


def _check_parity(parity: Mapping[str, Parity]) -> None:
    """Check that the graph gives the model's logits.

    Raises:
        ExportError: it does not, so nothing is kept.
    """
    for name, one in parity.items():
        if not one.holds:
            raise ExportError(
                f"Head {name!r}: the graph gives logits that differ by {one.difference:.2g} from those of the model in "
                "fp32; use the model itself (model.predict), and report this model"
            )


def _written(core: HeadedCore, name: str, parity: Parity, details: Mapping[str, Any]) -> Written:
    notes = tuple(notes_on(core.heads[name], parity))
    return Written("", parity.difference, parity.scale, parity.drift, notes, details)


def _details(core: HeadedCore, heads: Mapping[str, Written]) -> dict[str, Any]:
    return {
        "heads": {
            name: {
                "kind": core.heads[name].spec.kind,
                "largest_difference": one.difference,
                "largest_difference_of_precision": one.drift,
                **one.details,
            }
            for name, one in heads.items()
        }
    }
