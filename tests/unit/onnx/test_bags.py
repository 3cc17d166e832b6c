"""``bags.npz``: the bags of a trained model's heads by numpy alone, by its documented formulas, and damaged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.errors import CorruptCheckpointError
from manyheads.export.onnx.bags import write_bags
from manyheads.export.onnx.columns import first_layer
from manyheads.onnx.bags import Bags
from manyheads.onnx.layout import BAGS
from manyheads.taps.lexical.readers import LexicalReader
from manyheads.types import Features
from tests.families import TEXTS, VOCABULARY

Saved = Callable[[str], Path]
LABELS = ["a", "b"]
WORDS = mh.Lexical(unit="word", ngrams=(1, 2))
SPECS = {
    "tokens": mh.Multiclass(labels=LABELS, reads=mh.Lexical(), column="label"),
    "pairs": mh.Multiclass(labels=LABELS, reads=[mh.Lexical(ngrams=(1, 2)), mh.Hidden()], column="label"),
    "words": mh.Multiclass(labels=LABELS, reads=WORDS, column="label"),
    "first": mh.Multiclass(labels=LABELS, reads=mh.Lexical(unit="word", first=1), column="label"),
    "deep": mh.Multiclass(labels=LABELS, reads=[mh.Hidden(), WORDS, mh.Lexical()], hidden=[8], column="label"),
    "other": mh.Multiclass(labels=LABELS, reads=[mh.Hidden(), mh.Output("first")], column="label"),
}
NUMBER_OF_BAGS = {"tokens": 1, "pairs": 1, "words": 1, "first": 1, "deep": 2}
TABLE = [
    {"text": f"{text} {extra}", "label": LABELS[place % 2]}
    for extra in ("", "today", "for two weeks")
    for place, text in enumerate(TEXTS)
]


@pytest.fixture(scope="module")
def model(saved: Saved) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    for name, spec in SPECS.items():
        model.add_head(name, spec)
    mh.train(model, TABLE, text="text", method=mh.Frozen(l2=0.1), eval_fraction=0)
    return model


@pytest.fixture(scope="module")
def folder(model: mh.HeadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    assert write_bags(model.core, SPECS, folder) == NUMBER_OF_BAGS
    return folder


def layout_of(bags: Mapping[str, int], file: bool = True) -> Any:
    """Return the part of a layout that is read: the number of bags of each head, and the files."""
    heads = {name: SimpleNamespace(bags=number) for name, number in bags.items()}
    return SimpleNamespace(heads=heads, sizes={BAGS: 1} if file else {})


@pytest.fixture(scope="module")
def batch(model: mh.HeadedModel) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask of texts, of one without tokens, and of ids beyond the vocabulary; padded with such an id."""
    rows = [model.tokenizer(text)["input_ids"] for text in [*TEXTS, "cough, cough", "unheard-of!", ""]]
    rows += [[], [VOCABULARY + 3, 20, 20, VOCABULARY + 3, 20, 21], [VOCABULARY]]
    width = max(map(len, rows))
    mask = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    return np.array([row + [VOCABULARY + 1] * (width - len(row)) for row in rows]), mask


def by_torch(model: mh.HeadedModel, name: str, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the product of a head's bags with their columns of its first layer."""
    head, features = model.heads[name], Features(torch.from_numpy(ids), torch.from_numpy(mask))
    total, start = 0, 0
    for tap, reader in zip(head.taps, head.readers, strict=True):
        end = start + tap.width(model.core.backbone.facts)
        if isinstance(reader, LexicalReader):
            total = total + reader(features) @ first_layer(head).weight[:, start:end].T
        start = end
    return total.detach().numpy()


def test_numpy_gives_torchs_contribution_to_the_first_layer(
    model: mh.HeadedModel, folder: Path, batch: tuple[np.ndarray, np.ndarray]
) -> None:
    ids, mask = batch
    bags = Bags.load(folder, layout_of(NUMBER_OF_BAGS))
    inputs = bags.inputs(ids, mask.astype(np.int64))
    assert list(inputs) == [f"bag_{name}" for name in NUMBER_OF_BAGS]
    for name in NUMBER_OF_BAGS:
        expected = by_torch(model, name, ids, mask)
        assert inputs[f"bag_{name}"].dtype == np.float32
        np.testing.assert_allclose(inputs[f"bag_{name}"], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    known = model.core.heads.chosen(["tokens", "words", "first"])
    for name, head in known.items():
        logits = inputs[f"bag_{name}"][: len(TEXTS)] + head.output.bias.detach().numpy()
        np.testing.assert_allclose(logits, model.predict(TEXTS, heads=[name]).logits[name], atol=1e-5)


def test_heads_with_the_same_terms_share_a_lexicon(folder: Path) -> None:
    bags = Bags.load(folder, layout_of(NUMBER_OF_BAGS))
    numbers = {name: list(columns) for name, columns in bags.columns.items()}
    assert numbers["deep"] == [*numbers["words"], *numbers["tokens"]]
    assert len(bags.lexicons) == 4
    assert len({name for name in np.load(folder / BAGS) if name.startswith("pieces.")}) == 4


def test_a_head_that_is_only_read_by_another_one_is_written_too(model: mh.HeadedModel, tmp_path: Path) -> None:
    assert write_bags(model.core, ["other"], tmp_path) == {"first": 1}
    assert list(Bags.load(tmp_path, layout_of({"other": 0})).names) == ["bag_first"]


def test_without_bags_there_is_no_file(saved: Saved, tmp_path: Path) -> None:
    plain = mh.HeadedModel.from_pretrained(saved("bert"))
    plain.add_head("plain", mh.Multiclass(labels=LABELS))
    assert write_bags(plain.core, ["plain"], tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    ids = np.zeros((2, 3), dtype=np.int64)
    assert Bags.load(tmp_path, layout_of({"plain": 0}, file=False)).inputs(ids, np.ones_like(ids)) == {}


# --- the documented formulas, in plain Python -----------------------------------------------------


def words(arrays: Mapping[str, np.ndarray], pieces: int, tokens: Sequence[int]) -> Iterator[list[int]]:
    """Yield the letters of each word, -1 for an id without pieces."""
    letters, offsets, joins_last, joins_next = (
        arrays[f"pieces.{pieces}.{key}"].tolist() for key in ("letters", "offsets", "joins_last", "joins_next")
    )
    word: list[int] = []
    for place, token in enumerate(tokens):
        listed = 0 <= token < len(joins_last)
        before = tokens[place - 1] if place else -1
        mine = letters[offsets[token] : offsets[token + 1]] if listed else [-1]
        joins = listed and joins_last[token] and 0 <= before < len(joins_last) and joins_next[before]
        if mine and not joins and word:
            yield word
            word = []
        word = word + mine
    if word:
        yield word


def node(nodes: Sequence[int], word: Sequence[int]) -> int:
    """Return the node of a word, -1 if it is unknown."""
    reached = 0
    for letter in word:
        key = reached * 2**31 + letter
        if letter < 0 or key not in nodes or len(word) > 48:
            return -1
        reached = 1 + nodes.index(key)
    return reached


def bag(arrays: Mapping[str, np.ndarray], number: int, tokens: Sequence[int]) -> dict[int, float]:
    """Return place of a term -> its value in the bag of one text."""
    pairs, first, pieces = arrays[f"lexicon.{number}.settings"].tolist()
    units = [token + 1 for token in tokens]
    if pieces >= 0:
        nodes = arrays[f"lexicon.{number}.nodes"].tolist()
        units = [node(nodes, word) for word in words(arrays, pieces, tokens)][: first or None]
    keys = [unit * 2**31 for unit in units]
    if pairs:
        keys += [one * 2**31 + two for one, two in pairwise(units) if min(one, two) > 0]
    terms, weights = (arrays[f"lexicon.{number}.{key}"].tolist() for key in ("terms", "weights"))
    places = {key: place for place, key in enumerate(terms)}
    counts = Counter(places[key] for key in keys if key in places)
    values = {place: (1 + math.log(count)) * weights[place] for place, count in counts.items()}
    length = math.sqrt(sum(value**2 for value in values.values()))
    return {place: value / length for place, value in values.items()}


@pytest.mark.parametrize("name", NUMBER_OF_BAGS)
def test_the_file_and_its_documented_formulas_are_enough(
    folder: Path, batch: tuple[np.ndarray, np.ndarray], name: str
) -> None:
    arrays = dict(np.load(folder / BAGS, allow_pickle=False))
    columns = {key: array for key, array in arrays.items() if key.startswith(f"head.{name}.columns.")}
    expected = []
    for row, real in zip(*batch, strict=True):
        total = np.zeros(next(iter(columns.values())).shape[1])
        for key, array in columns.items():
            for place, value in bag(arrays, int(key.rpartition(".")[2]), row[real].tolist()).items():
                total += value * array[place]
        expected.append(total)
    found = Bags.load(folder, layout_of(NUMBER_OF_BAGS)).inputs(*batch)[f"bag_{name}"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found).max() > 0


# --- damaged files --------------------------------------------------------------------------------


def rewrite(source: Path, target: Path, change: Callable[[dict[str, np.ndarray]], object]) -> Path:
    """Write the file of one folder to another one after a change of its arrays."""
    arrays = {name: array.copy() for name, array in np.load(source / BAGS).items()}
    change(arrays)
    np.savez(target / BAGS, **arrays)
    return target


def swap(array: np.ndarray) -> None:
    array[[0, 1]] = array[[1, 0]]


CHANGES: dict[str, tuple[Callable[[dict[str, np.ndarray]], object], str]] = {
    "terms swapped": (lambda arrays: swap(arrays["lexicon.0.terms"]), "'tokens': Lexical: the keys .* not ascend"),
    "a weight of zero": (lambda arrays: arrays["lexicon.0.weights"].fill(0), "'tokens': Lexical: .* not positive"),
    "NaN": (lambda arrays: arrays["lexicon.2.weights"].fill(np.nan), "'words': lexicon.2.weights holds NaN"),
    "infinity": (lambda arrays: arrays["head.words.columns.2"].fill(np.inf), "'words': head.words.columns.2 holds NaN"),
    "no tree": (lambda arrays: swap(arrays["lexicon.2.nodes"]), "'words': Lexical: its table of words is not one"),
    "letters overlap": (lambda arrays: arrays["pieces.0.offsets"][5:6].fill(10**6), "'words': Lexical: the letters"),
    "no terms": (
        lambda arrays: arrays.update({"lexicon.0.terms": np.array([], int)}),
        r"int64 \[0\], not int64 \[any\]",
    ),
    "one weight less": (
        lambda arrays: arrays.update({"lexicon.0.weights": arrays["lexicon.0.weights"][1:]}),
        "'tokens': lexicon.0.weights is float32",
    ),
    "double precision": (
        lambda arrays: arrays.update({"head.first.columns.3": arrays["head.first.columns.3"].astype(float)}),
        r"'first': head.first.columns.3 is float64 .* not float32 \[\d+, any\]",
    ),
    "absent": (lambda arrays: arrays.pop("pieces.0.joins_next"), "'words': pieces.0.joins_next is absent"),
    "no such lexicon": (
        lambda arrays: arrays.update({"head.first.columns.77": arrays["head.first.columns.3"]}),
        "'first': lexicon.77.settings is absent",
    ),
    "a head less": (lambda arrays: arrays.pop("head.first.columns.3"), "'first': has 0 bags, but .* declares 1"),
    "other widths": (
        lambda arrays: arrays.update({"head.deep.columns.0": arrays["head.deep.columns.0"][:, 1:]}),
        "'deep': the columns of its bags differ in width",
    ),
    "objects": (lambda arrays: arrays.update({"lexicon.0.terms": np.array([{}])}), "cannot be read"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_contradicts_itself_is_rejected_in_one_line(folder: Path, tmp_path: Path, how: str) -> None:
    change, message = CHANGES[how]
    rewrite(folder, tmp_path, change)
    with pytest.raises(CorruptCheckpointError, match=rf"{BAGS}: .*{message}") as caught:
        Bags.load(tmp_path, layout_of(NUMBER_OF_BAGS))
    assert "\n" not in str(caught.value)


def test_an_absent_or_compressed_file_is_rejected(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpointError, match=f"{BAGS}: cannot be read"):
        Bags.load(tmp_path, layout_of(NUMBER_OF_BAGS))
    with pytest.raises(CorruptCheckpointError, match=f"{BAGS}: head 'tokens': has 0 bags, but .* declares 1"):
        Bags.load(tmp_path, layout_of(NUMBER_OF_BAGS, file=False))
    np.savez_compressed(tmp_path / BAGS, **np.load(folder / BAGS))
    with pytest.raises(CorruptCheckpointError, match="is compressed"):
        Bags.load(tmp_path, layout_of(NUMBER_OF_BAGS))


def test_damaged_bytes_are_found_or_harmless(
    folder: Path, tmp_path: Path, batch: tuple[np.ndarray, np.ndarray]
) -> None:
    """The only bytes that the checksums of a zip file leave open are those of its own fields."""
    whole, draw = (folder / BAGS).read_bytes(), np.random.default_rng(0)
    expected = Bags.load(folder, layout_of(NUMBER_OF_BAGS)).inputs(*batch)
    places = [*range(0, 250), *range(len(whole) - 250, len(whole)), *draw.integers(0, len(whole), 100)]
    versions = [whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :] for place in places]
    versions += [whole[:length] for length in draw.integers(0, len(whole), 30)]
    rejected = 0
    for version in versions:
        (tmp_path / BAGS).write_bytes(version)
        try:
            found = Bags.load(tmp_path, layout_of(NUMBER_OF_BAGS)).inputs(*batch)
        except CorruptCheckpointError:
            rejected += 1
        else:
            assert all(np.array_equal(found[name], array) for name, array in expected.items())
    assert rejected > len(versions) / 2
