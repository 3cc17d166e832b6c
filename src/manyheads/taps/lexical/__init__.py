"""The lexical tap: a text's tokens, words or pairs of them, weighted by rarity. It needs no pass of the backbone."""

from manyheads.taps.lexical.tap import Lexical

__all__ = ["Lexical"]
