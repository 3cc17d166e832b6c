"""All heads of a model in one folder, as a graph that ``OnnxPredictor`` runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from manyheads.backbone.limits import token_limit
from manyheads.core import HeadedCore
from manyheads.errors import ExportError, MissingExtraError, listed
from manyheads.export.exporter import Exported, Exporter, Written
from manyheads.export.folder import check_folder, write_export
from manyheads.export.onnx.bags import write_bags
from manyheads.export.onnx.card import onnx_card
from manyheads.export.onnx.graphs import WEIGHTS, traced_graphs
from manyheads.export.onnx.notes import notes_on
from manyheads.export.onnx.parity import Parity, compare
from manyheads.export.onnx.save import save
from manyheads.export.onnx.settings import OnnxSettings
from manyheads.export.onnx.surroundings import layout_of
from manyheads.export.onnx.tokenizer import write_tokenizer
from manyheads.onnx.layout_file import write_layout
from manyheads.onnx.predictor import OnnxPredictor
from manyheads.runtime.progress import spinner

_FP32_BYTES = 4
# For the comparison, so that no time goes into measuring the fastest number.
_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class OnnxExporter(Exporter):
    """Exports heads to ONNX.

    Attributes:
        settings: What the graph contains, and how exact it has to be.
    """

    name: ClassVar[str] = "onnx"
    purpose: ClassVar[str] = "a graph with all heads, for OnnxPredictor and ONNX Runtime"
    has_one_folder: ClassVar[bool] = True

    settings: OnnxSettings = field(default_factory=OnnxSettings)

    def export(self, core: HeadedCore, tokenizer: Any, heads: Mapping[str, Path], overwrite: bool = False) -> Exported:
        """Export heads to the one folder that they are given; see ``Exporter.export``.

        Raises:
            ExportError: no graph can contain the backbone, or there is no tokenizer.
        """
        (folder,) = set(heads.values())
        check_folder(folder, overwrite, _inputs(core))
        _check_model(core, tokenizer)
        errors = {name: problem for name in heads if (problem := _problem(core, name))}
        names = [name for name in heads if name not in errors]
        if not names:
            return Exported(self.name, errors=errors)
        found: dict[str, Written] = {}

        def write(fresh: Path) -> Written:
            with spinner(f"Exporting {listed(names)}"):
                found.update(self._write_heads(core, tokenizer, names, fresh))
            return _together(core, self.settings, found, fresh)

        size = sum(tensor.numel() for tensor in core.backbone.model.parameters()) * _FP32_BYTES
        write_export(folder, overwrite, _inputs(core), size, {"to": self.name}, write)
        return Exported(self.name, dict.fromkeys(found, folder), errors, found)

    def _write_heads(self, core: HeadedCore, tokenizer: Any, names: Sequence[str], folder: Path) -> dict[str, Written]:
        """Write all files but the card and ``export.json``, and compare them with the model."""
        graphs = traced_graphs(core, tokenizer, names, self.settings.language_model)
        save(graphs.models, folder, WEIGHTS)
        bags = write_bags(core, names, folder)
        write_tokenizer(tokenizer, token_limit(core.backbone.model, tokenizer), folder)
        files = sorted(path.name for path in folder.iterdir())
        write_layout(layout_of(core, tokenizer, names, graphs.heads, bags, files), folder)
        predictor = OnnxPredictor(folder, batch_tokens=_BATCH_TOKENS)
        parity = compare(core, tokenizer, names, predictor)
        _check_parity(parity)
        return {name: _written(core, name, one) for name, one in parity.items()}


def _inputs(core: HeadedCore) -> list[Path]:
    """Return the folders that must stay."""
    source = core.backbone.source
    return [] if source is None else [source.folder]


def _check_model(core: HeadedCore, tokenizer: Any) -> None:
    """Check that the extra is installed, and that there is a tokenizer.

    Raises:
        MissingExtraError: it is not.
        ExportError: there is none.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"Exporting to ONNX needs {listed(missing)}; pip install 'manyheads[onnx]'")
    if tokenizer is None:
        raise ExportError(f"{core.backbone.name}: has no tokenizer to export with it; wrap the model with one")


def _problem(core: HeadedCore, name: str) -> str | None:
    """Return why a head cannot be exported."""
    untrained = [other for other, head in core.heads.with_dependencies([name]).items() if not head.is_usable]
    if not untrained:
        return None
    reads = "" if untrained == [name] else f" reads {listed(untrained)}, which"
    return f"Head {name!r}:{reads} is not trained, so its export would predict at random; train it first"


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


def _written(core: HeadedCore, name: str, parity: Parity) -> Written:
    return Written("", parity.difference, parity.scale, parity.drift, tuple(notes_on(core.heads[name], parity)))


def _together(core: HeadedCore, settings: OnnxSettings, heads: Mapping[str, Written], folder: Path) -> Written:
    """Return what was written for all heads as one."""
    difference, scale, drift = (
        max(getattr(one, part) for one in heads.values()) for part in ("difference", "scale", "drift")
    )
    card = onnx_card(core, settings, heads, frozenset(path.name for path in folder.iterdir()))
    return Written(card, difference, scale, drift, details=_details(core, heads))


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
