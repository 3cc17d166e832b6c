"""The words of a text whose labels are wrong, for heads that label words."""

from __future__ import annotations

import numpy as np

from manyheads.evaluation.evaluated_rows import EvaluatedRows, Mistake

Words = tuple[str, ...]


def differing_words(one: Mistake, evaluated: EvaluatedRows) -> tuple[Words, Words] | None:
    """Return the wrong words, each with its true label, and with its predicted one.

    Returns ``None`` for heads that do not label words, and where it is unknown which words the labels belong to.
    """
    if evaluated.words is None or not isinstance(one.text, str):
        return None
    places = evaluated.words[int(np.flatnonzero(evaluated.rows == one.row)[0])]
    if len(places) != len(one.truth):
        return None
    labelled = zip(places, one.truth, one.prediction, strict=True)
    wrong = [(one.text[slice(*place)], true, said) for place, true, said in labelled if true != said]
    return tuple(f"{word}: {true}" for word, true, _ in wrong), tuple(f"{word}: {said}" for word, _, said in wrong)
