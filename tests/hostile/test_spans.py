"""Spans as annotation tools write them, and spans whose offsets are counted otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd
import pytest

import manyheads as mh
from manyheads.data.texts.words import find_words
from manyheads.heads.cells.spans import SplitText

TEXT = "chest pain in Rome"
TAGS = ["B-place", "O", "O", "B-city"]
TRIPLES = [[0, 5, "place"], [14, 18, "city"]]

SHAPES: dict[str, object] = {
    "doccano, triples": TRIPLES,
    "doccano, tuples": [tuple(item) for item in TRIPLES],
    "doccano, entities": [{"id": 1, "label": b, "start_offset": a, "end_offset": z} for a, z, b in TRIPLES],
    "Label Studio, JSON-MIN": [{"start": a, "end": z, "text": TEXT[a:z], "labels": [b]} for a, z, b in TRIPLES],
    "Label Studio, CSV": json.dumps([{"start": a, "end": z, "text": TEXT[a:z], "labels": [b]} for a, z, b in TRIPLES]),
    "Argilla": [[b, a, z] for a, z, b in TRIPLES],
    "Argilla, tuples": [(b, a, z) for a, z, b in TRIPLES],
    "spaCy": {"entities": TRIPLES},
    "spaCy, tuples": {"entities": [tuple(item) for item in TRIPLES]},
    "spaCy, in a CSV file": str({"entities": [tuple(item) for item in TRIPLES]}),
    "Prodigy": [
        {"start": a, "end": z, "token_start": n, "token_end": n, "label": b} for n, (a, z, b) in enumerate(TRIPLES)
    ],
    "tuples in a CSV file": str([tuple(item) for item in TRIPLES]),
    "dicts in a CSV file": str([{"start": a, "end": z, "label": b} for a, z, b in TRIPLES]),
    "floats": [{"start": float(a), "end": float(z), "label": b} for a, z, b in TRIPLES],
    "numbers as texts": [{"start": str(a), "end": str(z), "label": b} for a, z, b in TRIPLES],
    "pandas": pd.Series([TRIPLES]).to_numpy()[0],
    "backwards": TRIPLES[::-1],
}


def encoded(cells: Sequence[object], texts: Sequence[str], spec: mh.Tokens) -> list[list[object]]:
    split = [SplitText(find_words(text, spec.words), text) for text in texts]
    values = spec.encode(cells, "found", "ads.csv", split).values
    return [[spec.classes[value] for value in row.tolist()] for row in values]


@pytest.mark.parametrize("cell", SHAPES.values(), ids=SHAPES)
def test_shapes_of_tools(cell: object) -> None:
    assert encoded([cell], [TEXT], mh.Tokens(["place", "city"])) == [TAGS]
    rows = [{"text": TEXT, "found": cell}, {"text": "knee pain", "found": []}]
    heads = mh.infer_heads(rows if not isinstance(cell, str) else rows[:1] * 2, "found")
    assert heads["found"] == mh.Tokens(["city", "place"], column="found")


def _inferred(cells: Sequence[object]) -> None:
    mh.infer_heads([{"text": TEXT, "found": cell} for cell in cells], "found")


def _encoded(cells: Sequence[object]) -> None:
    encoded(cells, [TEXT] * len(cells), mh.Tokens(["place", "city"]))


UNKNOWN: dict[str, tuple[object, tuple[str, ...]]] = {
    "Label Studio, JSON": ([{"value": {"start": 0, "end": 5}, "type": "labels"}], ("'value', 'type'",)),
    "pipelines": ([{"start": 0, "end": 5, "entity_group": "place"}], ("'start', 'end', 'entity_group'",)),
    "numbers of words": ([{"token_start": 0, "token_end": 0, "label": "place"}], ("'token_start', 'token_end'",)),
    "four parts": ([[0, 5, "place", 0.5]], ("[0, 5, 'place', 0.5]",)),
    "a list too many": ([[[0, 5, "place"]]], ("[[0, 5, 'place']]",)),
    "three numbers": ([[0, 5, 3]], ("[0, 5, 3]",)),
    "fractions": ([[0.5, 5, "place"]], ("[0.5, 5, 'place']",)),
    "no label": ([{"start": 0, "end": 5, "labels": []}], ("labels none", "a span of its own")),
    "two labels": ([{"start": 0, "end": 5, "labels": ["a", "b"]}], ("'a', 'b'", "a span of its own")),
}


@pytest.mark.parametrize(("cell", "words"), UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("inferred", [True, False])
def test_unknown_shapes(cell: object, words: tuple[str, ...], inferred: bool) -> None:
    read = _inferred if inferred else _encoded
    with pytest.raises(mh.errors.LabelError) as caught:
        read([TRIPLES, cell])
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ("found", "row 2", *words)), message


# Name: the text, the span of Anna as it is counted there, and the cause.
COUNTED: dict[str, tuple[str, tuple[int, int], str]] = {
    "UTF-16": ("😀 Anna left", (3, 7), "UTF-16 units"),
    "UTF-8": ("für Anna Groß", (5, 9), "UTF-8 bytes"),
    "inclusive ends": ("with Anna left", (5, 8), "end at the last character"),
    "from one": ("with Anna left", (6, 10), "count from 1, and should count from 0"),
    "from one, inclusive": ("with Anna left", (6, 9), "count from 1 and end at the last character"),
    "CRLF": ("a\nb\nAnna left", (6, 10), "as two characters (CRLF)"),
    "LF": ("a\r\nb\r\nAnna left", (4, 8), "as one character"),
    "a stripped text": ("  with Anna left", (5, 9), "spaces at the start"),
    "no cause": ("Anna saw many people", (10, 12), "count characters from 0"),
    "beyond the text": ("Anna", (0, 40), "4 characters"),
    "backwards": ("Anna", (4, 0), "count characters from 0"),
}


@pytest.mark.parametrize(("text", "place", "cause"), COUNTED.values(), ids=COUNTED)
@pytest.mark.parametrize("with_text", [True, False])
def test_the_likely_cause_of_a_span_that_does_not_fit(
    text: str, place: tuple[int, int], cause: str, with_text: bool
) -> None:
    span: dict[str, object] = {"start": place[0], "end": place[1], "label": "name"}
    cell = [{**span, "text": "Anna"} if with_text else span]
    with pytest.raises(mh.errors.LabelError) as caught:
        encoded([None, cell], ["", text], mh.Tokens(["name"]))
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in (f"row 2: the span {place[0]} to {place[1]}", cause)), message
    assert "all" not in message.split(";")[-1]


def test_a_text_that_only_differs_in_spaces_fits() -> None:
    cell = [{"start": 0, "end": 9, "label": "name", "text": "Anna Lang"}]
    assert encoded([cell], ["Anna\nLang"], mh.Tokens(["name"])) == [["B-name", "I-name"]]


@pytest.mark.parametrize("end", [4, 5])
def test_spaces_at_the_end_of_a_span_are_left_out(end: int) -> None:
    assert encoded([[(0, end, "name")]], ["Anna left"], mh.Tokens(["name"])) == [["B-name", "O"]]


def test_one_cause_for_all_spans_of_a_table() -> None:
    texts = ["with Anna left", "Otto is here , and Anna"]
    cells = [[(5, 8, "name")], [(0, 3, "name"), (19, 22, "name")]]
    with pytest.raises(mh.errors.LabelError, match=r"end at the last character.* so do those of all 3 spans") as caught:
        encoded(cells, texts, mh.Tokens(["name"]))
    assert "ads.csv: head 'found', row 1: the span 5 to 8 ('name') cuts the word 'Anna'" in str(caught.value)


def test_a_cause_that_explains_the_whole_table_comes_first() -> None:
    # The first span may count UTF-16 units or from one; the second counts from one.
    texts = ["😀 Anna left", "with Anna left"]
    with pytest.raises(mh.errors.LabelError, match=r"row 1: .* count from 1, .* all 2 spans of the table"):
        encoded([[(3, 7, "name")], [(6, 10, "name")]], texts, mh.Tokens(["name"]))
