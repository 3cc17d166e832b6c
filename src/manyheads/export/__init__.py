"""Heads in formats of other libraries: each format in a file or folder of its own."""

from manyheads.export.export_head import export_head, export_heads
from manyheads.export.exporter import Exported, Exporter, Written

__all__ = ["Exported", "Exporter", "Written", "export_head", "export_heads"]
