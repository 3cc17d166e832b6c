"""The rules by which texts are split into words."""

from __future__ import annotations

from manyheads.errors import HeadError, did_you_mean, listed

# First character of a word, and the character after its last one.
Place = tuple[int, int]

WORD_RULES = ("punctuation", "spaces")
# The tokens of a word that its vector is made of.
SUBWORDS = ("first", "mean")
_MAX_WINDOW = 4


def check_subword(owner: str, subword: object) -> None:
    """Check that a policy exists.

    Raises:
        HeadError: an unknown policy.
    """
    if subword not in SUBWORDS:
        raise HeadError(
            f"{owner}: subword {subword!r} is not among {listed(SUBWORDS)}{did_you_mean(subword, SUBWORDS)}"
        )


def check_window(owner: str, window: object) -> None:
    """Check that a window is a number of words.

    Raises:
        HeadError: it is not, or is above 4.
    """
    if type(window) is not int or not 0 <= window <= _MAX_WINDOW:
        raise HeadError(f"{owner}: window must be a whole number of words from 0 to {_MAX_WINDOW}, got {window!r}")
