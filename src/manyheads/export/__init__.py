"""Heads in formats of other libraries: each format in a file or folder of its own."""

from manyheads.export.export_head import export_head
from manyheads.export.exporter import Exported, Exporter, Written
from manyheads.export.exporters import EXPORTERS
from manyheads.export.onnx.export_onnx import export_onnx

__all__ = ["EXPORTERS", "Exported", "Exporter", "Written", "export_head", "export_onnx"]
