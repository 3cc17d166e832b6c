"""The Hugging Face model as its checkpoint loads it: observed, run once per batch, never rebuilt."""

from manyheads.backbone.backbone import Backbone
from manyheads.backbone.identity.source import Source, resolve_source
from manyheads.backbone.load import load_backbone

__all__ = ["Backbone", "Source", "load_backbone", "resolve_source"]
