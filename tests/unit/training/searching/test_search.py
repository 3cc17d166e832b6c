"""What a searched head ends up reading, where the answer is known because the labels were made for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.heads import HeadSpec
from manyheads.training.fit import HELD_OUT, LEAVE_ONE_OUT, Alternative
from manyheads.training.searching import search
from manyheads.training.searching.candidates import candidates
from manyheads.types import Batch
from tests.families import LAYERS, WORDS

Saved = Callable[[str], Path]
Table = list[dict[str, object]]
ROWS = 120
DEFAULT = mh.Hidden(-1, "mean", normalize=True)
SIGNS = WORDS[:8]
FAST = mh.Frozen(l2=0.03)


def texts(count: int = ROWS, seed: int = 0) -> list[str]:
    """Return different texts of 12 to 20 words; each holds one of the signs, somewhere."""
    draw = np.random.default_rng(seed)
    made = []
    for row in range(count):
        words = draw.choice(WORDS[8:80], size=draw.integers(12, 21)).tolist()
        words.insert(int(draw.integers(len(words))), SIGNS[row % len(SIGNS)])
        made.append(" ".join(words))
    return made


def by_sign(text: str) -> int:
    """Return the class, which one word among many decides, and no word like it shares."""
    return sum(SIGNS.index(word) for word in text.split() if word in SIGNS) % 2


@pytest.fixture(scope="module")
def model(saved: Saved) -> mh.HeadedModel:
    """A backbone to copy heads' features from; never trained."""
    return mh.HeadedModel.from_pretrained(saved("bert"))


@pytest.fixture(scope="module")
def direction(model: mh.HeadedModel) -> Callable[[mh.Hidden], list[float]]:
    """Return, for each text, a number that is linear in what a tap reads of it."""

    @torch.no_grad()
    def along(tap: mh.Hidden) -> list[float]:
        vectors = []
        for text in texts():
            ids = torch.tensor([model.tokenizer(text)["input_ids"]])
            vectors.append(model.core.read(Batch(ids, torch.ones_like(ids)), [tap])[0][tap].values[0])
        standard = torch.stack(vectors) - torch.stack(vectors).mean(dim=0)
        weights = torch.from_numpy(np.random.default_rng(0).normal(size=standard.shape[1])).float()
        return (standard / standard.std(dim=0) @ weights).tolist()

    return along


def trained(
    saved: Saved, specs: dict[str, HeadSpec], table: Table, method: mh.Frozen = FAST
) -> tuple[mh.HeadedModel, mh.TrainResult]:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    for name, spec in specs.items():
        model.add_head(name, spec)
    return model, mh.train(model, table, text="text", method=method, eval_fraction=0)


def screened(alternatives: list[Alternative]) -> list[Alternative]:
    return [alternative for alternative in alternatives if alternative.by == LEAVE_ONE_OUT]


def sign_table() -> Table:
    return [{"text": text, "label": "ab"[by_sign(text)]} for text in texts()]


# --- the right answer -----------------------------------------------------------------------------


def test_the_candidates_are_the_default_and_every_layer_in_every_way(model: mh.HeadedModel) -> None:
    found = candidates(model.core.backbone.facts)
    assert found[0] == DEFAULT
    layers, pools = range(1, LAYERS + 2), ("mean", "cls", "max")
    expected = {mh.Hidden(-layer, pool, normalize=True) for layer in layers for pool in pools}
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("hidden", [(), (8,)], ids=["linear", "hidden"])
def test_a_label_that_one_rare_word_decides_reads_the_bag(saved: Saved, hidden: tuple[int, ...]) -> None:
    specs = {"label": mh.Multiclass(labels=["a", "b"], hidden=hidden)}
    model, result = trained(saved, specs, sign_table())
    assert any(isinstance(tap, mh.Lexical) for tap in model.heads["label"].taps)
    losses = {
        alternative.reads: alternative.loss
        for alternative in screened(result.search["label"])
        if len(alternative.reads) == 1
    }
    assert losses[mh.Lexical(),] == min(losses.values())
    assert result.reads["label"].startswith("Lexical")


def test_a_label_that_the_first_word_decides_reads_the_first_word(saved: Saved) -> None:
    draw = np.random.default_rng(3)
    table: Table = []
    for row in range(ROWS):
        words = draw.permutation(SIGNS).tolist()  # each text has all of them, in some order
        table.append({"text": " ".join([*words, WORDS[20 + row % 60]]), "label": "ab"[SIGNS.index(words[0]) % 2]})
    model, result = trained(saved, {"label": mh.Multiclass(labels=["a", "b"])}, table)
    first = [tap for tap in model.heads["label"].taps if isinstance(tap, mh.Lexical) and tap.first == 1]
    assert [tap.tokens for tap in first] == [len(SIGNS)]
    assert "first=1" in result.reads["label"]


def test_a_bag_of_first_words_that_does_not_help_is_not_joined(saved: Saved) -> None:
    _, result = trained(saved, {"label": mh.Multiclass(labels=["a", "b"])}, sign_table())
    joined = [alternative.reads for alternative in screened(result.search["label"]) if len(alternative.reads) > 1]
    assert joined
    assert not any(mh.Lexical(unit="word", first=1) in reads for reads in joined)


def test_where_the_default_tap_is_as_good_it_is_kept(
    saved: Saved, direction: Callable[[mh.Hidden], list[float]]
) -> None:
    table: Table = [
        {"text": text, "hours": value, "label": "ab"[value > 0]}
        for text, value in zip(texts(), direction(DEFAULT), strict=True)
    ]
    model, _ = trained(saved, {"hours": mh.Regression(), "label": mh.Multiclass(labels=["a", "b"])}, table)
    assert {name: head.taps for name, head in model.heads.items()} == {"hours": (DEFAULT,), "label": (DEFAULT,)}


@pytest.mark.parametrize(("rows", "weights", "solved"), [(50, 1000, True), (200, 1000, False), (50, 100, False)])
def test_with_many_rows_a_bag_is_solved_unless_it_has_too_many_weights(
    saved: Saved,
    direction: Callable[[mh.Hidden], list[float]],
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    weights: int,
    solved: bool,
) -> None:
    """120 rows, 80 words and two labels, of which the screening finds in the default tap what there is to find."""
    monkeypatch.setattr(search, "_BAG_ROWS", rows)
    monkeypatch.setattr(search, "_MAX_BAG_WEIGHTS", weights)
    table: Table = [
        {"text": text, "label": "ab"[value > 0]} for text, value in zip(texts(), direction(DEFAULT), strict=True)
    ]
    model, result = trained(saved, {"label": mh.Multiclass(labels=["a", "b"])}, table)
    sets = [one.reads for one in result.search["label"] if one.by == HELD_OUT]
    assert any(isinstance(tap, mh.Lexical) for taps in sets for tap in taps) == solved
    assert model.heads["label"].taps == (DEFAULT,)


def test_what_no_tap_tells_joins_none(saved: Saved) -> None:
    draw = np.random.default_rng(7)
    table: Table = [{"text": text, "label": "ab"[draw.integers(2)]} for text in texts()]
    model, result = trained(saved, {"label": mh.Multiclass(labels=["a", "b"])}, table)
    assert len(model.heads["label"].taps) == 1
    assert min(alternative.loss for alternative in screened(result.search["label"])) > 0.9


@pytest.mark.parametrize("tap", [mh.Hidden(-4, "max", normalize=True), mh.Hidden(-2, "cls", normalize=True)], ids=str)
def test_the_layer_and_pooling_that_hold_the_answer_are_found(
    saved: Saved, direction: Callable[[mh.Hidden], list[float]], tap: mh.Hidden
) -> None:
    table: Table = [{"text": text, "hours": value} for text, value in zip(texts(), direction(tap), strict=True)]
    model, _ = trained(saved, {"hours": mh.Regression(), "deep": mh.Regression(hidden=[4], column="hours")}, table)
    assert tap in model.heads["hours"].taps
    assert tap in model.heads["deep"].taps


def test_two_answers_in_two_places_are_joined(saved: Saved, direction: Callable[[mh.Hidden], list[float]]) -> None:
    one, other = direction(mh.Hidden(-4, "max", normalize=True)), [3.0 * by_sign(text) for text in texts()]
    table: Table = [
        {"text": text, "hours": a / np.std(one) + b / np.std(other)}
        for text, a, b in zip(texts(), one, other, strict=True)
    ]
    model, _ = trained(saved, {"hours": mh.Regression()}, table, mh.Frozen(l2=0.01))
    taps = model.heads["hours"].taps
    assert mh.Hidden(-4, "max", normalize=True) in taps
    assert any(isinstance(tap, mh.Lexical) for tap in taps)


def test_a_search_is_the_same_every_time(saved: Saved) -> None:
    specs = {"label": mh.Multiclass(labels=["a", "b"])}
    (one, first), (other, second) = (trained(saved, specs, sign_table()) for _ in range(2))
    assert first.search == second.search
    assert torch.equal(one.heads["label"].output.weight, other.heads["label"].output.weight)


# --- little to go by ------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "searches"), [(39, False), (40, True)])
def test_with_fewer_than_forty_labelled_rows_there_is_no_search(saved: Saved, rows: int, searches: bool) -> None:
    table: Table = [{**row, "label": row["label"] if k < rows else None} for k, row in enumerate(sign_table()[:60])]
    specs = {"label": mh.Multiclass(labels=["a", "b"]), "all": mh.Regression(reads=mh.Hidden())}
    model, result = trained(saved, specs, [{**row, "all": float(k)} for k, row in enumerate(table)])
    assert bool(screened(result.search["label"])) == searches
    if not searches:
        assert model.heads["label"].taps == (DEFAULT,)


def test_texts_that_stand_often_give_nothing_away(saved: Saved) -> None:
    """Labels are noise: whoever could look at a row's double would predict it."""
    draw = np.random.default_rng(3)
    once: Table = [{"text": text, "label": "ab"[draw.integers(2)]} for text in texts(60)]
    often = [{**row, "text": f"{row['text']}{spaces}"} for spaces in ("", " ", "  ", "") for row in once]
    _, result = trained(saved, {"label": mh.Multiclass(labels=["a", "b"])}, often)
    alternatives = screened(result.search["label"])
    assert {alternative.settings["rows"] for alternative in alternatives} == {60.0}
    assert min(alternative.loss for alternative in alternatives) > 0.8
    held_out = [alternative.loss for alternative in result.search["label"] if alternative.by == HELD_OUT]
    assert min(held_out) > 0.5


def test_heads_with_other_missing_labels_are_judged_on_their_own_rows(saved: Saved) -> None:
    table: Table = [
        {
            "text": row["text"],
            "label": row["label"] if k < 60 else None,
            "same": row["label"] if k < 60 else None,
            "tags": (["x"] if row["label"] == "a" else ["y"]) if k >= 50 else None,
            "hours": None if k % 2 else float(by_sign(str(row["text"]))),
        }
        for k, row in enumerate(sign_table())
    ]
    specs: dict[str, HeadSpec] = {
        "label": mh.Multiclass(labels=["a", "b"]),
        "same": mh.Multiclass(labels=["b", "a"]),
        "tags": mh.MultiLabel(labels=["x", "y"]),
        "hours": mh.Regression(),
    }
    _, result = trained(saved, specs, table)
    rows = {name: {alternative.settings["rows"] for alternative in screened(result.search[name])} for name in specs}
    assert rows == {"label": {60.0}, "same": {60.0}, "tags": {70.0}, "hours": {60.0}}
    alone = trained(saved, {"tags": specs["tags"]}, [row for row in table if row["tags"] is not None])[1]
    assert [t.reads for t in screened(alone.search["tags"])] == [t.reads for t in screened(result.search["tags"])]


# --- numbers of any size, and what is kept --------------------------------------------------------


@pytest.mark.parametrize("reads", [DEFAULT, mh.Lexical(), "auto"], ids=str)
def test_targets_of_any_size_are_solved_alike(saved: Saved, tmp_path: Path, reads: object) -> None:
    values = [by_sign(text) + 0.1 * (k % 3) for k, text in enumerate(texts(50))]
    table: Table = [
        {"text": text, "one": value, "large": value * 1e30, "small": value * 1e-30}
        for text, value in zip(texts(50), values, strict=True)
    ]
    specs: dict[str, HeadSpec] = {name: mh.Regression(reads=reads) for name in ("one", "large", "small")}
    model, result = trained(saved, specs, table, mh.Frozen(l2=0.1))
    found = {name: logits.astype(np.float64) for name, logits in model.predict(texts(50)).logits.items()}
    assert model.heads["one"].taps == model.heads["large"].taps == model.heads["small"].taps
    np.testing.assert_allclose(found["large"] / 1e30, found["one"], atol=1e-2)
    np.testing.assert_allclose(found["small"] / 1e-30, found["one"], atol=1e-2)
    assert all(np.isfinite(alternative.loss) for alternatives in result.search.values() for alternative in alternatives)
    model.save_pretrained(tmp_path / "out")


def test_what_was_tried_is_told_and_kept(saved: Saved, tmp_path: Path) -> None:
    specs: dict[str, HeadSpec] = {"label": mh.Multiclass(labels=["a", "b"]), "hours": mh.Regression(column="number")}
    table: Table = [{**row, "number": float(len(str(row["text"])))} for row in sign_table()[:60]]
    model, result = trained(saved, specs, table, mh.Frozen())
    model.save_pretrained(tmp_path / "out")
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "out")
    for name in specs:
        alternatives = result.search[name]
        assert {alternative.by for alternative in alternatives} == {HELD_OUT, LEAVE_ONE_OUT}
        assert all(alternative.error is not None and alternative.error >= 0 for alternative in alternatives)
        tried = loaded.heads[name].summary["tried"]
        assert json.loads(json.dumps(tried, allow_nan=False)) == [alternative.record() for alternative in alternatives]
        solved = [alternative for alternative in alternatives if alternative.by == HELD_OUT]
        kinds = tuple(type(tap) for tap in model.heads[name].taps)
        tried_with = [one.settings["l2"] for one in solved if tuple(type(tap) for tap in one.reads) == kinds]
        assert 0.5 * min(tried_with) <= result.chosen[name]["l2"] <= max(tried_with)
