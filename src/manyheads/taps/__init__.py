"""What heads read: frozen values, each the key by which features are cached, forwards shared and heads stacked."""

from manyheads.taps.base import Tap, read_tap, write_tap
from manyheads.taps.hidden import Hidden

__all__ = ["Hidden", "Tap", "read_tap", "write_tap"]
