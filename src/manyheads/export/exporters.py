"""The formats that heads can be exported to, by name."""

from __future__ import annotations

from manyheads.errors import ConfigError, did_you_mean, listed
from manyheads.export.exporter import Exporter
from manyheads.export.onnx.exporter import OnnxExporter
from manyheads.export.sentence_transformers import SentenceTransformersExporter
from manyheads.export.stock.exporter import StockExporter

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter for exporter in (StockExporter(), SentenceTransformersExporter(), OnnxExporter())
}


def exporter_named(name: str) -> Exporter:
    """Return an exporter.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in EXPORTERS:
        raise ConfigError(f"to: {name!r} is not among {listed(EXPORTERS)}{did_you_mean(name, EXPORTERS)}")
    return EXPORTERS[name]
