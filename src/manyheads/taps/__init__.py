"""What heads read: frozen values, each the key by which features are cached, forwards shared and heads stacked."""

from manyheads.taps.base import Tap, read_tap, write_tap
from manyheads.taps.branched import Branched, off_branch, on_branch
from manyheads.taps.hidden import Hidden
from manyheads.taps.lexical import Lexical

__all__ = ["Branched", "Hidden", "Lexical", "Tap", "off_branch", "on_branch", "read_tap", "write_tap"]
