"""Tags of words in every scheme, and lists that may be tags of words or labels of the text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, IOBES, IOE2, Entities

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.data.texts.words import joined
from manyheads.heads.cells.entities import as_bio, entities
from manyheads.heads.cells.spans import SplitText
from tests.families import BY_NAME, tokenizer_for

WORDS = [["Anna", "Klein", "visits", "Rome"], ["the", "nurse", "is", "here"], ["Bern", "is", "cold"], ["Otto", "left"]]
NOTHING = ["O"] * 4

# Scheme: tags of WORDS -> the head. All have the same entities.
SCHEMES: dict[str, list[list[object]]] = {
    "BIO": [["B-PER", "I-PER", "O", "B-LOC"], NOTHING, ["B-LOC", "O", "O"], ["B-PER", "O"]],
    "IOB1": [["I-PER", "I-PER", "O", "I-LOC"], NOTHING, ["I-LOC", "O", "O"], ["I-PER", "O"]],
    "BILUO": [["B-PER", "L-PER", "O", "U-LOC"], NOTHING, ["U-LOC", "O", "O"], ["U-PER", "O"]],
    "BIOES": [["B-PER", "E-PER", "O", "S-LOC"], NOTHING, ["S-LOC", "O", "O"], ["S-PER", "O"]],
    "IOE2": [["I-PER", "E-PER", "O", "E-LOC"], NOTHING, ["E-LOC", "O", "O"], ["E-PER", "O"]],
    "IO": [["PER", "PER", "O", "LOC"], NOTHING, ["LOC", "O", "O"], ["PER", "O"]],
    "underscores": [["B_PER", "I_PER", "O", "B_LOC"], NOTHING, ["B_LOC", "O", "O"], ["B_PER", "O"]],
    "slashes": [["B/PER", "I/PER", "O", "B/LOC"], NOTHING, ["B/LOC", "O", "O"], ["B/PER", "O"]],
    "letters at the end": [["PER-B", "PER-I", "O", "LOC-B"], NOTHING, ["LOC-B", "O", "O"], ["PER-B", "O"]],
}


def encoded(spec: mh.Tokens, tags: Sequence[object], words: Sequence[str]) -> list[object]:
    text, places = joined(words)
    values = spec.encode([list(tags)], "found", "rows", [SplitText(places, text)]).values[0]
    return [spec.classes[value] if value >= 0 else None for value in values.tolist()]


def rows_of(tags: Sequence[object], words: Sequence[object] = WORDS) -> list[dict[str, object]]:
    return [{"text": text, "tags": cell} for text, cell in zip(words, tags, strict=True)]


@pytest.mark.parametrize("tags", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("given", ["list", "text", "JSON", "pandas", "spaces", "numpy"])
def test_every_scheme_is_a_token_head(tags: list[list[object]], given: str) -> None:
    cells: list[object] = list(tags)
    if given == "JSON":
        cells = [str(row).replace("'", '"') for row in tags]
    elif given == "pandas":
        cells = [str(row) for row in tags]
    elif given == "spaces" and tags is not SCHEMES["IO"] and tags is not SCHEMES["letters at the end"]:
        cells = [" ".join(map(str, row)) for row in tags]
    elif given == "numpy":
        cells = [np.array(row, dtype=object) for row in tags]
    texts: list[object] = [" ".join(words) for words in WORDS] if given == "text" else list(WORDS)
    heads = mh.infer_heads(rows_of(cells, texts), "tags")
    assert heads["tags"] == mh.Tokens(["LOC", "PER"], column="tags")
    assert "tags -> Tokens(2 entity types)" in heads.rules[0]


@pytest.mark.parametrize("tags", SCHEMES.values(), ids=SCHEMES)
def test_every_scheme_has_the_same_entities(tags: list[list[object]]) -> None:
    spec = mh.Tokens(["LOC", "PER"])
    classes = [
        [spec.classes.index(tag) for tag in encoded(spec, row, words)] for row, words in zip(tags, WORDS, strict=True)
    ]
    found = [entities(np.array(row)).tolist() for row in classes]
    assert found == [[[0, 2, 1], [3, 4, 0]], [], [[0, 1, 0]], [[0, 1, 1]]]


# Neighboring entities: where one ends and the next begins.
STRICT: dict[str, tuple[type, list[str]]] = {
    "BIO": (IOB2, ["B-a", "I-a", "B-a", "B-b", "O", "B-a"]),
    "BIOES": (IOBES, ["B-a", "I-a", "E-a", "S-a", "B-a", "E-a", "O", "S-b", "S-b"]),
    "IOE2": (IOE2, ["I-a", "E-a", "E-a", "I-a", "E-a", "E-b", "O", "I-b", "E-b"]),
}


@pytest.mark.parametrize(("scheme", "tags"), STRICT.values(), ids=STRICT)
def test_entities_are_those_of_seqeval(scheme: type, tags: list[str]) -> None:
    wanted = [(one.start, one.end, one.tag) for one in Entities([tags], scheme).entities[0]]
    bio = as_bio(tags, ["a", "b"])
    assert [(start, end + 1, tag) for tag, start, end in get_entities(bio)] == wanted
    spec = mh.Tokens(["a", "b"])
    numbers = np.array([spec.classes.index(tag) for tag in bio])
    assert [(start, end, "ab"[kind]) for start, end, kind in entities(numbers).tolist()] == wanted


def test_neighboring_words_of_one_type_are_one_entity_in_io_tags() -> None:
    spec = mh.Tokens(["PER", "LOC"])
    tags = encoded(spec, ["PER", "PER", "LOC", "O", "LOC"], list("abcde"))
    assert tags == ["B-PER", "I-PER", "B-LOC", "O", "B-LOC"]


NAMES: dict[str, tuple[list[str], list[list[int]]]] = {
    "BIO": (["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], [[1, 2, 0, 3], [0] * 4, [3, 0, 0], [1, 0]]),
    "another order": (["I-LOC", "B-LOC", "I-PER", "B-PER", "O"], [[3, 2, 4, 1], [4] * 4, [1, 4, 4], [3, 4]]),
    "BILUO": (["O", "B-PER", "L-PER", "U-PER", "U-LOC"], [[1, 2, 0, 4], [0] * 4, [4, 0, 0], [3, 0]]),
    "IO": (["O", "PER", "LOC"], [[1, 1, 0, 2], [0] * 4, [2, 0, 0], [1, 0]]),
    "letters at the end": (["O", "PER-B", "PER-I", "LOC-B"], [[1, 2, 0, 3], [0] * 4, [3, 0, 0], [1, 0]]),
}


@pytest.mark.parametrize(("names", "numbers"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("inferred", [True, False])
def test_class_numbers_are_their_names(names: list[str], numbers: list[list[int]], inferred: bool) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=names)),
        }
    )
    data = datasets.Dataset.from_dict({"tokens": WORDS, "ner_tags": numbers}, features=features)
    spec = mh.infer_heads(data, "ner_tags")["ner_tags"] if inferred else mh.Tokens(labels=names, column="ner_tags")
    assert isinstance(spec, mh.Tokens)
    assert sorted(map(str, spec.labels)) == ["LOC", "PER"]
    cells = read_table(data).values("ner_tags")
    assert encoded(spec, cells[0], WORDS[0]) == ["B-PER", "I-PER", "O", "B-LOC"]  # type: ignore[arg-type]


SPEECH = [
    ["PROPN", "PROPN", "VERB", "PROPN"],
    ["DET", "NOUN", "VERB", "ADV"],
    ["PROPN", "VERB", "ADJ"],
    ["PROPN", "VERB"],
]


def test_parts_of_speech_are_one_label_per_word(tmp_path: Path) -> None:
    heads = mh.infer_heads(rows_of(SPEECH), "tags")
    assert heads["tags"] == mh.Tokens(sorted({tag for row in SPEECH for tag in row}), column="tags", scheme="plain")
    assert "one label per word -> Tokens(6 labels, plain)" in heads.rules[0]
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("tags", heads["tags"])
    rows = rows_of(list(SPEECH) * 3, [[word.lower() for word in row] for row in WORDS] * 3)
    result = mh.train(model, rows, "text", eval_data=rows)
    assert {"accuracy", "macro_f1"} <= set(result.metrics["tags"])
    assert "entity_f1" not in result.metrics["tags"]
    model.save_pretrained(tmp_path / "out")
    answer = mh.HeadedModel.from_pretrained(tmp_path / "out").predict([["otto", "left"]])[0]["tags"]
    assert len(answer.labels) == 2
    assert set(answer.labels) <= set(heads["tags"].labels)


def test_numbers_without_names_are_one_label_per_word() -> None:
    heads = mh.infer_heads(pd.DataFrame({"text": WORDS, "tags": [[1, 2, 0, 3], [0] * 4, [3, 0, 0], [1, 0]]}), "tags")
    assert heads["tags"] == mh.Tokens([0, 1, 2, 3], column="tags", scheme="plain")
    assert "the labels are numbers; name them" in heads.rules[0]


def test_words_that_only_spaces_separate() -> None:
    texts = ["Anna's e-mail", "Rome, too", "he left", "Otto's"]
    tags = [["PROPN", "NOUN"], ["PROPN", "ADV"], ["PRON", "VERB"], ["PROPN"]]
    heads = mh.infer_heads(rows_of(tags, texts), "tags")
    assert heads["tags"].word_rule == "spaces"
    assert "words='spaces'" in heads.rules[0]


TOPICS: dict[str, list[list[object]]] = {
    "other lengths": [["a", "b"], ["a"], ["b"], ["b", "a"]],
    "one of each": [["a"], ["b"], ["a"], ["b"]],
    "a train": [["S-Bahn"], ["U-Bahn", "S-Bahn"], ["U-Bahn"], ["S-Bahn"]],
}


@pytest.mark.parametrize("labels", TOPICS.values(), ids=TOPICS)
def test_lists_of_topics_stay_topics(labels: list[list[object]]) -> None:
    assert isinstance(mh.infer_heads(rows_of(labels), "tags")["tags"], mh.MultiLabel)


def test_names_of_trains_are_types() -> None:
    assert mh.Tokens(["S-Bahn", "E-Bike"]).labels == ("S-Bahn", "E-Bike")


WRONG: dict[str, tuple[list[list[object]], tuple[str, ...]]] = {
    "letters alone": ([["B", "I", "O", "B"], NOTHING, ["B", "O", "O"], ["B", "O"]], ("without a type", "'B-term'")),
    "a word too few": ([SPEECH[0], SPEECH[1], SPEECH[2], ["VERB"]], ("row 4", "1 labels for 2 words", "MultiLabel(")),
    "O alone": ([NOTHING, NOTHING, ["O"] * 3, ["O"] * 2], ("contains no entity",)),
}


@pytest.mark.parametrize(("tags", "words"), WRONG.values(), ids=WRONG)
def test_tags_that_cannot_be_read(tags: list[list[object]], words: tuple[str, ...]) -> None:
    with pytest.raises(mh.errors.LabelError) as caught:
        mh.infer_heads(rows_of(tags), "tags")
    message = str(caught.value)
    assert "column 'tags'" in message
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("write", ["pandas", "JSON", "python"])
def test_words_of_a_csv_file(tmp_path: Path, write: str) -> None:
    path = tmp_path / "ads.csv"
    frame = pd.DataFrame({"text": WORDS, "tags": SCHEMES["BIO"]})
    if write == "JSON":
        frame = frame.map(lambda cell: str(cell).replace("'", '"'))
    elif write == "python":
        frame = frame.map(lambda cell: str(tuple(cell)).replace("(", "[").replace(")", "]"))
    frame.to_csv(path, index=False)
    heads = mh.infer_heads(path, "tags")
    assert heads["tags"] == mh.Tokens(["LOC", "PER"], column="tags")
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("tags", heads["tags"])
    assert mh.train(model, path, "text", eval_fraction=0).rows["tags"]["train"] == 4
