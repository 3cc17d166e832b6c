"""The bag of tokens: scikit-learn's tf-idf, by ids and masks alone, without a pass, kept exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from torch import Tensor

import manyheads as mh
from manyheads.errors import CorruptCheckpointError, HeadError
from manyheads.heads import HeadSpec
from manyheads.taps.lexical import LexicalReader, TokenIds, bags, lexicon
from manyheads.types import Features
from tests.families import BY_NAME, TEXTS, VOCABULARY, Family
from tests.laws.oracle import SIDES, headed, open_probes, over, padded, rows_of, rows_read
from tests.laws.test_keeping import rewrite_weights

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
    "deep": mh.Multiclass(labels=["a", "b"], reads=[mh.Lexical(), mh.Hidden()], hidden=[8], column="label"),
}


def made_up(texts: int = 50, vocabulary: int = 40, seed: int = 0) -> list[list[int]]:
    """Return token ids of texts of 0 to 30 tokens, frequent ids and rare ones, one in all texts but the empty."""
    draw = np.random.default_rng(seed)
    chances = 1 / np.arange(1, vocabulary)
    rows = [draw.choice(vocabulary - 1, size=draw.integers(1, 31), p=chances / chances.sum()) for _ in range(texts)]
    return [[vocabulary - 1, *row.tolist()] if place else [] for place, row in enumerate(rows)]


def end_to_end(rows: Sequence[Sequence[int]]) -> TokenIds:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return TokenIds(np.array([token for row in rows for token in row], dtype=np.int64), offsets)


def reader_of(ids: np.ndarray, weights: np.ndarray) -> LexicalReader:
    reader = LexicalReader(len(ids))
    reader.set_lexicon(ids, weights)
    return reader


def read(reader: LexicalReader, rows: Sequence[Sequence[int]]) -> Tensor:
    filled = padded([torch.tensor(row, dtype=torch.int64) for row in rows], filler=7)
    return reader(Features(filled["input_ids"], filled["attention_mask"].bool()))


def trained(folder: Path, specs: dict[str, HeadSpec] = SPECS) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(folder)
    for name, spec in specs.items():
        model.add_head(name, spec)
    mh.train(model, TABLE, text="text", method=mh.Frozen(l2=0.1), eval_fraction=0)
    return model


# --- what it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("most", [None, 10, 1000])
def test_reader_and_bags_are_scikit_learns_tfidf(most: int | None) -> None:
    rows = made_up()
    texts = end_to_end(rows)
    ids, weights = lexicon(texts, most)
    counts = texts.counts().toarray()[:, ids]
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(csr_array(counts)).toarray()
    np.testing.assert_allclose(bags(texts, ids, weights).toarray(), expected, atol=1e-6)
    torch.testing.assert_close(read(reader_of(ids, weights), rows), torch.from_numpy(expected).float())


def test_texts_never_counted_are_weighed_alike_in_both_ways() -> None:
    ids, weights = lexicon(end_to_end(made_up(seed=1)), 15)
    unseen = [*made_up(vocabulary=90, seed=2), [88, 89], [89]]
    found, expected = read(reader_of(ids, weights), unseen), bags(end_to_end(unseen), ids, weights).toarray()
    torch.testing.assert_close(found, torch.from_numpy(expected))
    assert not found[[0, -1, -2]].any()  # no token, or none that is known: zeros, not NaN


def test_the_most_held_tokens_are_kept_and_what_tells_nothing_apart_is_not() -> None:
    rows = [[1, 2, 3, 3, 3], [1, 2, 4], [1, 2, 5], [1, 6, 5]]
    assert lexicon(end_to_end(rows))[0].tolist() == [2, 3, 4, 5, 6]  # 1 is in every text
    assert lexicon(end_to_end(rows), 2)[0].tolist() == [2, 5]  # by texts, not by how often
    assert lexicon(end_to_end(rows), 3)[0].tolist() == [2, 3, 5]  # of equals the first
    assert lexicon(end_to_end([[1, 2], [2, 1]]))[0].tolist() == [1, 2]  # better those than none
    np.testing.assert_allclose(lexicon(end_to_end(rows), 2)[1], np.log([5 / 4, 5 / 3]) + 1, rtol=1e-6)


@pytest.mark.parametrize("tokens", [0, -1, 1.5, True, "all"])
def test_an_invalid_number_of_tokens_is_rejected(tokens: object) -> None:
    with pytest.raises(HeadError, match="Lexical: tokens"):
        mh.Lexical(tokens=tokens)


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
    ids = end_to_end([model.tokenizer(text)["input_ids"] or [model.tokenizer.bos_token_id] for text in texts])
    for name in ("label", "tags"):
        head = model.heads[name]
        reader = head.readers[0]
        sparse = bags(ids, reader.ids.numpy(), reader.weights.numpy())
        expected = sparse @ head.output.weight.detach().numpy().T + head.output.bias.detach().numpy()
        np.testing.assert_allclose(model.predict(texts).logits[name], expected, atol=1e-5)
    assert all(np.isfinite(values).all() for values in model.predict(texts).logits.values())
    assert len(model.heads["tags"].readers[0].ids) == 20


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


TAMPERED: dict[str, Callable[[Tensor], object]] = {
    "swapped": swap,
    "one twice": lambda ids: ids[1:2].copy_(ids[:1]),
    "negative": lambda ids: ids[0].fill_(-1),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_token_ids_that_do_not_ascend_are_rejected(kept: tuple[mh.HeadedModel, Path], tmp_path: Path, how: str) -> None:
    kept[0].save_pretrained(tmp_path / "broken")
    rewrite_weights(tmp_path / "broken", lambda stored: TAMPERED[how](stored["label.readers.0.ids"]))
    with pytest.raises(CorruptCheckpointError, match=r"'label'.*ascend"):
        mh.HeadedModel.from_pretrained(tmp_path / "broken")
