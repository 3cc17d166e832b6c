"""The text of a sequence while it grows token by token.

The last tokens may be half a character, and some tokenizers remove spaces once they see the next word. Such text is
kept back until later tokens cannot change it, so that the pieces together are the text of the whole sequence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from manyheads.types import Tokenizer

# What stands for bytes that are no character, perhaps because the rest of it is still to come.
_REPLACEMENT = "\ufffd"
# A token of one byte beside a vocabulary of words, as in Llama's: a run of them is decoded as a whole.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")

# Tokens after which a sequence is decoded from a later token on, and how many tokens before it are decoded again: the
# text of a token may depend on those right before it.
_MOST_DECODED = 64
_DECODED_AGAIN = 8


class SequenceDecoder:
    """Decodes sequences that are not complete.

    Args:
        tokenizer: The backbone's own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pending = frozenset(tokenizer.all_special_ids).union(
            number for token, number in tokenizer.get_vocab().items() if _BYTE.fullmatch(token)
        )
        self._removes_spaces = " ," not in self.decode(tokenizer("a , a", add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of a complete sequence, without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def certain(self, ids: Sequence[int]) -> str:
        """Return the text that tokens after these cannot change."""
        end = len(ids)
        while end and ids[end - 1] in self._pending:
            end -= 1
        text = self.decode(ids[:end]).rstrip(_REPLACEMENT)
        return text[: max(text.rfind(" "), 0)] if self._removes_spaces else text

    def can_split(self, ids: Sequence[int]) -> bool:
        """Return whether the text of these tokens and that of later ones are independent."""
        ends_text = bool(ids) and ids[-1] not in self._pending and not self._removes_spaces
        return ends_text and not self.decode(ids[-_DECODED_AGAIN:]).endswith(_REPLACEMENT)


class GrowingText:
    """The text after a prompt, given out in pieces while it grows.

    Args:
        decoder: Decodes the sequence.
        prompt: The token ids that the sequence repeats.
        stop: The text ends before the first of these strings.

    Attributes:
        is_stopped: Whether a stop string was found.
    """

    def __init__(self, decoder: SequenceDecoder, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self.is_stopped = False
        self._decoder = decoder
        self._start = len(decoder.decode(prompt))
        self._stop = stop
        self._given = 0
        # The sequence is decoded from token ``_first`` on; the first ``_again`` characters of that end ``_before``.
        self._first = 0
        self._again = 0
        self._before = ""

    def grow(self, ids: Sequence[int]) -> str:
        """Return the next piece, perhaps empty.

        Args:
            ids: The whole sequence so far.
        """
        text = self._certain(ids)[self._start :]
        return self._piece(text, len(text) - _beginning_at_end(text, self._stop))

    def finish(self, text: str) -> str:
        """Return the last piece, perhaps empty.

        Args:
            text: The text of the complete sequence after its prompt.
        """
        return self._piece(text, len(text))

    def stops(self, ids: Sequence[int]) -> bool:
        """Return whether a sequence that may become this one contains a stop string."""
        return bool(self._stop) and _stop_place(self._decoder.certain(ids)[self._start :], self._stop) is not None

    def _certain(self, ids: Sequence[int]) -> str:
        """Return the text that later tokens cannot change, without decoding the whole sequence each time."""
        recent = ids[self._first :]
        text = self._before + self._decoder.certain(recent)[self._again :]
        if len(recent) > _MOST_DECODED and self._decoder.can_split(recent):
            again = self._decoder.decode(ids[-_DECODED_AGAIN:])
            if again:
                self._first, self._again, self._before = len(ids) - _DECODED_AGAIN, len(again), text
        return text

    def _piece(self, text: str, end: int) -> str:
        place = _stop_place(text, self._stop)
        self.is_stopped = place is not None
        piece = text[self._given : end if place is None else place]
        self._given += len(piece)
        return piece


def _stop_place(text: str, stop: Sequence[str]) -> int | None:
    """Return where the first stop string begins, or ``None``."""
    return min((place for one in stop if (place := text.find(one)) >= 0), default=None)


def _beginning_at_end(text: str, stop: Sequence[str]) -> int:
    """Return the length of the longest end of a text with which a stop string begins."""
    lengths = (length for one in stop for length in range(1, len(one)) if text.endswith(one[:length]))
    return max(lengths, default=0)
