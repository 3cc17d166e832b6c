"""Saved models: a plain Hugging Face checkpoint with ``heads.json`` and ``heads.safetensors`` beside it."""

from manyheads.checkpoint.load import Opened, attach_heads, open_checkpoint
from manyheads.checkpoint.save import save_checkpoint

__all__ = ["Opened", "attach_heads", "open_checkpoint", "save_checkpoint"]
