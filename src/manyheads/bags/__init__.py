"""Bags of terms from token ids, in numpy alone: for training, and for predictors without torch."""

from manyheads.bags.lexicon import Lexicon, TokenLexicon
from manyheads.bags.sparse_bags import SparseBags
from manyheads.bags.word_lexicon import WordLexicon

__all__ = ["Lexicon", "SparseBags", "TokenLexicon", "WordLexicon"]
