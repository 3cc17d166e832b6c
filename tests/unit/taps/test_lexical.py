"""The bag of tokens: scikit-learn's tf-idf, by ids and masks alone, without a pass, kept exactly."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from torch import Tensor

import manyheads as mh
from manyheads.bags.terms import BASE
from manyheads.errors import CorruptCheckpointError, HeadError
from manyheads.heads import HeadSpec
from manyheads.taps import read_tap, write_tap
from manyheads.taps.lexical.readers import TokenReader
from manyheads.types import Features
from tests.families import BY_NAME, TEXTS, VOCABULARY, Family
from tests.laws.oracle import SIDES, headed, open_probes, over, padded, rows_of, rows_read
from tests.laws.test_keeping import rewrite_json, rewrite_weights

Saved = Callable[[str], Path]
FAMILIES = [BY_NAME[name] for name in ("bert", "gpt2", "t5")]
TABLE: list[dict[str, object]] = [
    {
        "text": f"{text} {extra}",
        "label": "ab"[place % 2],
        "tags": ["x"] if place % 3 else ["x", "y"],
        "hours": float(len(text)),
    }
    for extra in ("", "today", "for two weeks")
    for place, text in enumerate(TEXTS)
]
SPECS: dict[str, HeadSpec] = {
    "label": mh.Multiclass(labels=["a", "b"], reads=mh.Lexical()),
    "tags": mh.MultiLabel(labels=["x", "y"], reads=mh.Lexical(tokens=20)),
    "hours": mh.Regression(reads=[mh.Hidden(), mh.Lexical()]),
    "words": mh.Multiclass(labels=["a", "b"], reads=mh.Lexical(unit="word", ngrams=(1, 2)), column="label"),
    "first": mh.Multiclass(labels=["a", "b"], reads=mh.Lexical(unit="word", first=1), column="label"),
    "deep": mh.Multiclass(labels=["a", "b"], reads=[mh.Lexical(), mh.Hidden()], hidden=[8], column="label"),
}


def made_up(texts: int = 50, vocabulary: int = 40, seed: int = 0) -> list[list[int]]:
    """Return token ids of texts of 0 to 30 tokens, frequent ids and rare ones, one in all texts but the empty."""
    draw = np.random.default_rng(seed)
    chances = 1 / np.arange(1, vocabulary)
    rows = [draw.choice(vocabulary - 1, size=draw.integers(1, 31), p=chances / chances.sum()) for _ in range(texts)]
    return [[vocabulary - 1, *row.tolist()] if place else [] for place, row in enumerate(rows)]


def features_of(rows: Sequence[Sequence[int]]) -> Features:
    filled = padded([torch.tensor(row, dtype=torch.int64) for row in rows], filler=7)
    return Features(filled["input_ids"], filled["attention_mask"].bool())


def reader_of(rows: Sequence[Sequence[int]], most: int = 1000, pairs: bool = False) -> TokenReader:
    """Return a reader with the terms of these texts."""
    lexicon = TokenReader(most, pairs).lexicon_of(features_of(rows))
    reader = TokenReader(len(lexicon.terms), pairs)
    reader.set_lexicon(lexicon)
    return reader


def tokens_of(reader: TokenReader) -> list[int]:
    return (reader.terms // BASE - 1).tolist()


def counts_of(rows: Sequence[Sequence[int]], ids: Sequence[int]) -> np.ndarray:
    """Return how often each text has each token id (texts, ids)."""
    return np.array([[list(row).count(token) for token in ids] for row in rows])


def trained(folder: Path, specs: dict[str, HeadSpec] = SPECS) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(folder)
    for name, spec in specs.items():
        model.add_head(name, spec)
    mh.train(model, TABLE, text="text", method=mh.Frozen(l2=0.1), eval_fraction=0)
    return model


# --- what it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("most", [10, 1000])
def test_reader_and_matrix_are_scikit_learns_tfidf(most: int) -> None:
    rows = made_up()
    reader = reader_of(rows, most)
    counts = csr_array(counts_of(rows, tokens_of(reader)))
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts).toarray()
    np.testing.assert_allclose(reader.matrix(features_of(rows)).toarray(), expected, atol=1e-6)
    torch.testing.assert_close(reader(features_of(rows)), torch.from_numpy(expected).float())


@pytest.mark.parametrize("pairs", [False, True])
def test_texts_never_counted_are_weighed_alike_in_both_ways(pairs: bool) -> None:
    reader = reader_of(made_up(seed=1), 15, pairs)
    unseen = features_of([*made_up(vocabulary=90, seed=2), [88, 89], [89]])
    found, expected = reader(unseen), reader.matrix(unseen).toarray()
    torch.testing.assert_close(found, torch.from_numpy(expected))
    assert not found[[0, -1, -2]].any()  # no token, or none that is known: zeros, not NaN


def test_the_most_held_tokens_are_kept_and_what_tells_nothing_apart_is_not() -> None:
    rows = [[1, 2, 3, 3, 3], [1, 2, 4], [1, 2, 5], [1, 6, 5]]
    assert tokens_of(reader_of(rows)) == [2, 3, 4, 5, 6]  # 1 is in every text
    assert tokens_of(reader_of(rows, 2)) == [2, 5]  # by texts, not by how often
    assert tokens_of(reader_of(rows, 3)) == [2, 3, 5]  # of equals the first
    assert tokens_of(reader_of([[1, 2], [2, 1]])) == [1, 2]  # better those than none
    torch.testing.assert_close(reader_of(rows, 2).weights, torch.tensor([5 / 4, 5 / 3]).log() + 1)


INVALID = [
    *({"tokens": number} for number in (0, -1, 1.5, True, "all")),
    *({"unit": "word", "first": number} for number in (0, -1, 1.5, True)),
    *({"ngrams": ngrams} for ngrams in ((2, 2), (1, 3), (1,), 2, "12", None)),
    *({"tables": sizes} for sizes in ((1, 1), (1, 1, 0), (1.0, 1, 1), 3)),
    {"unit": "words"},
    {"unit": None},
    {"first": 1},
]


@pytest.mark.parametrize("settings", INVALID, ids=str)
def test_invalid_settings_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(HeadError, match=f"Lexical: {list(settings)[-1]}"):
        mh.Lexical(**settings)


@pytest.mark.parametrize(
    ("tap", "text"),
    [
        (mh.Lexical(), "Lexical()"),
        (mh.Lexical(unit="word", ngrams=[1, 2], tokens=5), "Lexical(unit='word', ngrams=(1, 2), tokens=5)"),
        (mh.Lexical(unit="word", first=1, tables=(3, 2, 9)), "Lexical(unit='word', first=1)"),
    ],
)
def test_a_tap_is_the_same_after_json_and_readable(tap: mh.Lexical, text: str) -> None:
    record = json.loads(json.dumps(write_tap(tap)))
    assert record == write_tap(tap)
    assert read_tap(record) == tap
    assert hash(read_tap(record)) == hash(tap)
    assert str(tap) == text


# --- L6: by the mask, never by an id --------------------------------------------------------------


def by_hand(row: Tensor) -> Tensor:
    """Return the bag of one row (tokens,) in which every token weighs one."""
    counts = torch.bincount(row, minlength=VOCABULARY).float()
    bag = torch.where(counts > 0, 1 + counts.log(), 0.0)
    return bag / bag.norm()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("filler", ["pad", "word", "outside"])
@over("L6", FAMILIES)
def test_padding_is_no_token(family: Family, saved: Saved, filler: str, side: str) -> None:
    model = headed(saved(family.name), {"bag": mh.Multiclass(labels=list(range(VOCABULARY)), reads=mh.Lexical())})
    open_probes(model)
    rows = [torch.cat([row, row[:2]]) for row in rows_of(family)[:6]]
    fillers = {"pad": family.special_id("pad") or 0, "word": 17, "outside": VOCABULARY}
    with torch.no_grad(), rows_read(model.backbone) as passed:
        together = model(**padded(rows, side, fillers[filler])).logits["bag"]
        alone = torch.cat([model(row[None]).logits["bag"] for row in rows])
    expected = torch.stack([by_hand(row) for row in rows])
    torch.testing.assert_close(together, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-6)
    assert passed == []


@pytest.mark.parametrize("side", SIDES)
@over("L6", [BY_NAME["bert"], BY_NAME["qwen2"]])
def test_words_are_the_same_in_any_batch(family: Family, saved: Saved, side: str) -> None:
    names = ["words", "first"]
    model = trained(saved(family.name), {name: SPECS[name] for name in names})
    texts = [str(row["text"]) for row in TABLE[:8]]
    rows = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in texts]
    with torch.no_grad(), rows_read(model.backbone) as passed:
        together = model(**padded(rows, side, 17)).logits
        alone = [model(row[None]).logits for row in rows]
    assert passed == []
    for name in names:
        torch.testing.assert_close(together[name], torch.cat([one[name] for one in alone]), rtol=0, atol=1e-6)
        np.testing.assert_allclose(together[name].numpy(), model.predict(texts).logits[name], atol=1e-6)
        assert bool(together[name].std(dim=0).min() > 1e-3)


def test_the_first_word_is_read_alone_whatever_follows(saved: Saved) -> None:
    model = trained(saved("bert"), {"first": SPECS["first"]})
    logits = model.predict(["mild", "mild severe pain", ", mild", "severe mild pain"]).logits["first"]
    np.testing.assert_array_equal(logits[:3], logits[:1].repeat(3, axis=0))
    assert not np.array_equal(logits[0], logits[3])


def test_before_training_no_word_is_known_and_without_a_tokenizer_none_can_be(saved: Saved) -> None:
    model = headed(saved("bert"), {"words": SPECS["words"]})
    rows = padded(list(rows_of(BY_NAME["bert"])))
    with torch.no_grad():
        logits = model(**rows).logits["words"]
    assert torch.equal(logits, model.heads["words"].output.bias.detach().expand_as(logits))
    tap, facts = model.heads["words"].taps[0], model.core.backbone.facts
    features = Features(rows["input_ids"], rows["attention_mask"].bool())
    model.tokenizer = None
    with pytest.raises(HeadError, match=r"unit='word' needs the tokenizer"):
        tap.sized(features, facts)


def test_a_copied_model_finds_the_words_of_its_own_tokenizer(saved: Saved) -> None:
    model = trained(saved("bert"), {"words": SPECS["words"]})
    copied = copy.deepcopy(model)
    with warnings.catch_warnings(action="ignore"):
        copied.add_tokens(["metformin"])
    table = [{**row, "text": f"{row['text']} metformin"} if row["label"] == "a" else row for row in TABLE]
    mh.train(copied, table, text="text", method=mh.Frozen(l2=0.1), eval_fraction=0)
    assert [one["words"].label for one in copied.predict(["metformin", "pain metformin"])] == ["a", "a"]
    sizes = [len(one.heads["words"].readers[0].joins_last) for one in (model, copied)]
    assert sizes == [VOCABULARY, VOCABULARY + 1]


# --- in training ----------------------------------------------------------------------------------


@over("L23", FAMILIES)
def test_lexical_heads_alone_never_run_the_backbone(family: Family, saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved(family.name))
    model.add_head("label", SPECS["label"])
    model.add_head("deep", mh.Multiclass(labels=["a", "b"], reads=mh.Lexical(), hidden=[4], column="label"))
    with rows_read(model.backbone) as passed:
        mh.train(model, TABLE, text="text", method=mh.Frozen(l2=0.1))
        model.predict(TEXTS)
    assert passed == []


@over("L24", FAMILIES)
def test_what_was_solved_sparse_is_what_predicts(family: Family, saved: Saved) -> None:
    model = trained(saved(family.name))
    texts = [str(row["text"]) for row in TABLE] + ["", "unknown-of words only", "pain " * 30]
    ids = features_of([model.tokenizer(text)["input_ids"] or [model.tokenizer.bos_token_id] for text in texts])
    for name in ("label", "tags", "words", "first"):
        head = model.heads[name]
        sparse = head.readers[0].matrix(ids)
        expected = sparse @ head.output.weight.detach().numpy().T + head.output.bias.detach().numpy()
        np.testing.assert_allclose(model.predict(texts).logits[name], expected, atol=1e-5)
    assert all(np.isfinite(values).all() for values in model.predict(texts).logits.values())
    assert len(model.heads["tags"].readers[0].terms) == 20


def test_two_bags_that_turn_out_alike_are_one(saved: Saved) -> None:
    """Fewer different tokens are in the texts than either may weigh."""
    spec = mh.Multiclass(labels=["a", "b"], reads=[mh.Lexical(tokens=90), mh.Hidden(), mh.Lexical(tokens=91)])
    model = trained(saved("bert"), {"label": spec})
    assert [type(tap) for tap in model.heads["label"].taps] == [mh.Lexical, mh.Hidden]
    alone = trained(saved("bert"), {"label": mh.Multiclass(labels=["a", "b"], reads=[mh.Lexical(), mh.Hidden()])})
    assert torch.equal(model.heads["label"].readers[0].weights, alone.heads["label"].readers[0].weights)


def test_gradients_reach_the_head_and_the_backbone(saved: Saved) -> None:
    model = headed(saved("bert"), {"label": SPECS["deep"], "bag": SPECS["label"]})
    model.train()
    batch = padded(list(rows_of(BY_NAME["bert"])[:4]))
    labels = torch.tensor([0, 1, -100, 1])
    out = model(**batch, labels={"label": labels, "bag": labels})
    out.loss.backward()
    for name in ("label", "bag"):
        for key, parameter in model.heads[name].named_parameters():
            assert parameter.grad is not None, key
            assert bool(parameter.grad.isfinite().all())
            assert bool(parameter.grad.any())
    assert bool(model.backbone.bert.encoder.layer[0].output.dense.weight.grad.any())


# --- L19, L21: kept -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> tuple[mh.HeadedModel, Path]:
    """A trained model, and where it is saved."""
    model = trained(saved("bert"))
    folder = tmp_path_factory.mktemp("kept") / "model"
    model.save_pretrained(folder)
    return model, folder


def test_it_comes_back_bit_for_bit(kept: tuple[mh.HeadedModel, Path]) -> None:
    model, folder = kept
    loaded = mh.HeadedModel.from_pretrained(folder)
    for name, head in model.heads.items():
        assert loaded.heads[name].taps == head.taps
        np.testing.assert_array_equal(loaded.predict(TEXTS).logits[name], model.predict(TEXTS).logits[name])


def swap(ids: Tensor) -> None:
    ids[[0, 1]] = ids[[1, 0]]


TAMPERED: dict[str, tuple[str, Callable[[Tensor], object]]] = {
    "swapped": ("label.readers.0.terms", swap),
    "one twice": ("label.readers.0.terms", lambda terms: terms[1:2].copy_(terms[:1])),
    "negative": ("label.readers.0.terms", lambda terms: terms[0].fill_(-1)),
    "words swapped": ("words.readers.0.nodes", swap),
    "a word that continues itself": ("words.readers.0.nodes", lambda nodes: nodes[-1].fill_(len(nodes) * BASE)),
    "a negative word": ("words.readers.0.nodes", lambda nodes: nodes[0].fill_(-5)),
    "letters of no token": ("words.readers.0.offsets", lambda offsets: offsets[0].fill_(1)),
    "letters after the last": ("words.readers.0.offsets", lambda offsets: offsets[-1].add_(1)),
    "overlapping letters": ("words.readers.0.offsets", lambda offsets: offsets[5].fill_(10**6)),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tables_that_contradict_themselves_are_rejected(
    kept: tuple[mh.HeadedModel, Path], tmp_path: Path, how: str
) -> None:
    name, change = TAMPERED[how]
    kept[0].save_pretrained(tmp_path / "broken")
    rewrite_weights(tmp_path / "broken", lambda stored: change(stored[name]))
    with pytest.raises(CorruptCheckpointError, match=rf"'{name.split('.')[0]}'.*Lexical: "):
        mh.HeadedModel.from_pretrained(tmp_path / "broken")


@pytest.mark.parametrize("sizes", [{"tokens": 10**9}, {"tables": [10**9, 96, 96]}, {"tables": [1, 10**9, 10**9]}])
def test_sizes_that_the_tables_do_not_have_are_rejected(
    kept: tuple[mh.HeadedModel, Path], tmp_path: Path, sizes: dict[str, object]
) -> None:
    kept[0].save_pretrained(tmp_path / "broken")
    rewrite_json(tmp_path / "broken", lambda record: record["heads"]["words"]["taps"][0].update(sizes))
    with pytest.raises(CorruptCheckpointError, match=r"'words'.*the file holds"):
        mh.HeadedModel.from_pretrained(tmp_path / "broken")
