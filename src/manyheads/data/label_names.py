"""The names of labels as texts: where few rows are labelled, a label's name says what its texts are about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from manyheads.data.labelled import LabelledRows, split_texts, words_for
from manyheads.data.texts.texts import Texts
from manyheads.heads import Head, HeadSpec
from manyheads.heads.kinds.labelled import LabelledSpec

# With more labelled rows per label the names add nothing: on Banking77 with MiniLM they are worth 9 points of accuracy
# with 2 rows per label, one with 8 and none with 20.
_FEW_ROWS = 20
# What separates words in a name: everything but letters and digits, and the step from a small letter to a capital.
_SEPARATORS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_LETTERS = re.compile(r"[^\W\d_]{2}")


def texts_of_labels(spec: HeadSpec) -> dict[int, str]:
    """Return the texts of labels by their position: their words, or their names with spaces between the words. A name
    without two letters in a row, as codes are, and one that another label has too, is no text.

    Examples:
        >>> texts_of_labels(mh.Multiclass(["card_arrival", "lostCard", "E11"]))
        {0: 'card arrival', 1: 'lost Card'}
    """
    if not isinstance(spec, LabelledSpec) or not spec.has_label_words:
        return {}
    texts = [_SEPARATORS.sub(" ", " ".join(words)).strip() for words in spec.label_words_of]
    counts = Counter(texts)
    return {place: text for place, text in enumerate(texts) if _LETTERS.search(text) and counts[text] == 1}


def label_name_rows(train: LabelledRows, heads: Mapping[str, Head]) -> tuple[LabelledRows, dict[str, np.ndarray]]:
    """Return rows whose texts are the names of labels, for heads with few labelled rows per label, and the numbers of
    each such head's rows. A row has the label of its head, and none of the others.

    Args:
        train: The training rows.
        heads: The heads to train.
    """
    texts: list[str] = []
    cells: dict[str, list[object]] = {name: [] for name in heads}
    rows: dict[str, np.ndarray] = {}
    pairs = any(isinstance(text, tuple) for text in train.texts[:1])
    for name, head in heads.items():
        few = train.targets[name].labelled.sum() < _FEW_ROWS * head.spec.outputs
        found = texts_of_labels(head.spec) if few and not pairs else {}
        if not found:
            continue
        rows[name] = np.arange(len(texts), len(texts) + len(found))
        texts += found.values()
        for other in heads:
            own = [head.spec.cells_of_labels[place] for place in found] if other == name else [None] * len(found)
            cells[other] += own
    held = Texts(texts, np.zeros(len(texts), dtype=np.bool_))
    words = words_for(heads, held)
    split = split_texts(words, held)
    source = "The names of labels"
    targets = {name: head.spec.encode(cells[name], name, source, split) for name, head in heads.items()}
    return LabelledRows(source, np.arange(len(texts)), texts, targets, words, {}), rows
