"""Logits of many rows, which come batch by batch: one array per head, of unequal rows where a head labels words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from manyheads.heads import HeadSpec, Ragged

# fp32 (rows, outputs), or rows of (words, outputs).
Logits = np.ndarray | Ragged


class LogitRows:
    """Logits on their way into one value per head.

    Args:
        specs: The heads.
        rows: How many rows there will be.
    """

    def __init__(self, specs: Mapping[str, HeadSpec], rows: int) -> None:
        self._specs = specs
        self._whole = {
            name: np.empty((rows, spec.outputs), np.float32) for name, spec in specs.items() if not spec.by_word
        }
        self._words: dict[str, list[np.ndarray]] = {
            name: [np.empty((0, spec.outputs), np.float32)] * rows for name, spec in specs.items() if spec.by_word
        }

    def put(self, places: np.ndarray, logits: Mapping[str, np.ndarray], counts: np.ndarray | None) -> None:
        """Take in a batch.

        Args:
            places: Where its rows stand.
            logits: Head name -> (rows, outputs), or (rows, words, outputs) right-padded.
            counts: Words of each of its rows, where a head labels words.
        """
        for name, values in logits.items():
            if not self._specs[name].by_word:
                self._whole[name][places] = values
                continue
            assert counts is not None
            for place, row, count in zip(places, values, counts, strict=True):
                self._words[name][place] = row[:count].copy()  # not a view that keeps the whole batch

    def logits(self) -> dict[str, Logits]:
        """Return what was put, by head in their order."""
        words = {name: Ragged.of(rows, (self._specs[name].outputs,)) for name, rows in self._words.items()}
        return {name: words[name] if spec.by_word else self._whole[name] for name, spec in self._specs.items()}


def no_logits(spec: HeadSpec) -> Logits:
    """Return the logits of no rows."""
    return joined(spec, [])


def joined(spec: HeadSpec, parts: Sequence[Logits]) -> Logits:
    """Return a head's logits of several parts, end to end."""
    if spec.by_word:
        return Ragged.of((row for part in parts for row in part), (spec.outputs,))
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty((0, spec.outputs), np.float32), *arrays])
