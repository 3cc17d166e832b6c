"""What heads read: frozen values, each the key by which features are cached, forwards shared and heads stacked."""

from manyheads.taps.base import BackboneTap, Tap, read_tap, request_of, write_tap
from manyheads.taps.branched import Branched, off_branch, on_branch
from manyheads.taps.hidden import Hidden
from manyheads.taps.lexical import Lexical
from manyheads.taps.lm_logits import LMLogits
from manyheads.taps.output import Output
from manyheads.taps.prompted import Prompted
from manyheads.taps.words import Words

__all__ = [
    "BackboneTap",
    "Branched",
    "Hidden",
    "LMLogits",
    "Lexical",
    "Output",
    "Prompted",
    "Tap",
    "Words",
    "off_branch",
    "on_branch",
    "read_tap",
    "request_of",
    "write_tap",
]
