"""L23 and L24 for Frozen training: a text passes the backbone once, ever, and cached features are those of a pass."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers.models import WordLevel

import manyheads as mh
from manyheads.backbone.identity.digest import tensors_digest
from manyheads.heads import HeadSpec
from manyheads.types import Batch
from tests.families import BY_NAME, WORDS
from tests.laws.oracle import rows_read

Saved = Callable[[str], Path]
Table = list[dict[str, object]]
Specs = dict[str, HeadSpec]
LABELS = ["routine", "urgent", "emergency"]
# Of one length, with no word twice in the first place: cut or spelled otherwise, they are still all different.
TEXTS = [" ".join(WORDS[(row + shift * (shift + 1)) % 80] for shift in range(7)) for row in range(50)]
EXPLICIT: Specs = {
    "urgency": mh.Multiclass(labels=LABELS, reads=mh.Hidden()),
    "hours": mh.Regression(reads=mh.Hidden(layer=1, pool="max")),
    "topics": mh.MultiLabel(labels=LABELS, reads=mh.Hidden(layer="mix", pool="mean")),
    "ward": mh.Multiclass(labels=[0, 1], reads=mh.Hidden(pool="attention"), hidden=[4]),
}
SOLVED = {name: EXPLICIT[name] for name in ("urgency", "hours")}
SEARCHED: Specs = {
    "urgency": mh.Multiclass(labels=LABELS),
    "topics": mh.MultiLabel(labels=LABELS),
}
PLAIN: Specs = {"hours": mh.Regression(reads=mh.Hidden())}


def table(texts: list[str] = TEXTS) -> Table:
    """Return rows whose labels depend on the words."""
    places = [WORDS.index(text.split()[0]) for text in texts]
    return [
        {
            "text": text,
            "urgency": LABELS[place % 3],
            "hours": place / 3,
            "topics": [LABELS[place % 2], LABELS[2]] if place % 5 else [],
            "ward": int(place > 20),
        }
        for text, place in zip(texts, places, strict=True)
    ]


def loaded(folder: Path, heads: Specs = PLAIN, dtype: torch.dtype | None = None) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(folder, dtype=dtype)
    for name, spec in heads.items():
        model.add_head(name, spec)
    return model


def passed(model: mh.HeadedModel, rows: Table, method: mh.Frozen = mh.Frozen(l2=0.1), **settings: object) -> int:  # noqa: B008
    """Train, and return how many rows went through the backbone."""
    with rows_read(model.backbone) as read:
        mh.train(model, rows, text="text", method=method, **settings)
    return sum(read)


def assert_same_heads(model: mh.HeadedModel, other: mh.HeadedModel, tolerance: float = 0.0) -> None:
    for name, head in model.heads.items():
        assert head.taps == other.heads[name].taps
        for key, tensor in head.state_dict().items():
            torch.testing.assert_close(tensor, other.heads[name].state_dict()[key], rtol=tolerance, atol=tolerance)


@torch.no_grad()
def features_of(model: mh.HeadedModel, text: str, tap: mh.Hidden) -> torch.Tensor:
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    return model.core.read(Batch(ids, torch.ones_like(ids)), [tap])[0][tap].values[0]


# --- L23: one pass, ever --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "heads"),
    [("bert", EXPLICIT), ("gpt2", SOLVED), ("t5", SOLVED), ("bert", SEARCHED)],
    ids=["bert", "gpt2", "t5", "searched"],
)
def test_a_second_training_reads_nothing_and_ends_alike(saved: Saved, family: str, heads: Specs) -> None:
    first, second, live = (loaded(saved(family), heads) for _ in range(3))
    # The rows, and the labels' names. Searched heads that read the bag of tokens alone need no vectors of the five
    # evaluation rows.
    assert passed(first, table()) - len(LABELS) in ({45, 50} if heads is SEARCHED else {50})
    assert passed(second, table()) == 0
    passed(live, table(), mh.Frozen(cache=None, l2=0.1))
    assert_same_heads(first, second)
    assert_same_heads(first, live)


def test_vectors_of_unit_length_share_the_pass_and_the_cache_of_plain_ones(saved: Saved) -> None:
    plain = loaded(saved("bert"))
    unit: Specs = {"hours": mh.Regression(reads=mh.Hidden(normalize=True))}
    first, live = loaded(saved("bert"), unit), loaded(saved("bert"), unit)
    assert passed(plain, table()) == 50
    assert passed(first, table()) == 0
    passed(live, table(), mh.Frozen(cache=None, l2=0.1))
    assert_same_heads(first, live)
    found = features_of(live, TEXTS[0], mh.Hidden(pool="mean", normalize=True))
    torch.testing.assert_close(found.norm(), torch.ones(()))


def test_a_table_that_grew_costs_its_new_texts(saved: Saved) -> None:
    passed(loaded(saved("t5")), table(TEXTS[:30]))
    grown = table(TEXTS[40:] + TEXTS[:30] + TEXTS[28:36] + TEXTS[40:])
    model, live = loaded(saved("t5")), loaded(saved("t5"))
    assert passed(model, grown) == 16
    assert passed(model, grown) == 0
    assert passed(live, grown, mh.Frozen(cache=None, l2=0.1)) == 46
    assert_same_heads(model, live, 1e-3)


def test_a_text_that_stands_often_passes_once(saved: Saved) -> None:
    assert passed(loaded(saved("bert")), table(TEXTS * 3), mh.Frozen(cache=None, l2=0.1)) == len(TEXTS)


def test_a_head_added_later_costs_no_pass(saved: Saved, tmp_path: Path) -> None:
    model = loaded(saved("gpt2"), PLAIN)
    passed(model, table())
    model.save_pretrained(tmp_path / "out")
    for later in (model, mh.HeadedModel.from_pretrained(tmp_path / "out")):
        later.add_head("ward", mh.Multiclass(labels=[0, 1], reads=mh.Hidden()))
        assert passed(later, table(), heads=["ward"]) == 0


@pytest.mark.parametrize("fraction", [0, 0.1])
def test_a_searched_head_added_later_costs_no_pass(saved: Saved, fraction: float) -> None:
    model = loaded(saved("bert"))
    taps = {"shallow": mh.Hidden(-4, "cls"), "deep": mh.Hidden(-1, "max")}
    rows = [
        {"text": text, **{name: float(features_of(model, text, tap)[3]) for name, tap in taps.items()}}
        for text in TEXTS
    ]
    results = {}
    for name in taps:
        added = loaded(saved("bert"), {name: mh.Regression()})
        counted = passed(added, rows, eval_fraction=fraction)
        results[name] = counted, added.heads[name].taps
    assert results["shallow"][1] != results["deep"][1]
    assert [counted for counted, _ in results.values()] == [len(TEXTS), 0]


def test_a_moved_copy_of_the_folder_finds_its_features(saved: Saved, tmp_path: Path) -> None:
    passed(loaded(saved("gpt2")), table())
    assert passed(loaded(Path(shutil.copytree(saved("gpt2"), tmp_path / "elsewhere"))), table()) == 0


def test_an_object_in_memory_finds_its_features_after_it_was_saved(saved: Saved, tmp_path: Path) -> None:
    wrapped = mh.HeadedModel.wrap(BY_NAME["bert"].build(), mh.HeadedModel.from_pretrained(saved("bert")).tokenizer)
    wrapped.add_head("hours", PLAIN["hours"])
    assert passed(wrapped, table()) == len(TEXTS)
    wrapped.save_pretrained(tmp_path / "out")
    assert passed(mh.HeadedModel.from_pretrained(tmp_path / "out"), table()) == 0


def test_ten_trainings_with_a_search_cost_one_pass_between_them(saved: Saved) -> None:
    model = loaded(
        saved("bert"),
        SEARCHED | {"hours": EXPLICIT["hours"], "ward": mh.Multiclass(labels=[0, 1], reads=mh.Hidden(-2, "max"))},
    )
    rows = [{**row, "urgency": row["urgency"] if k % 4 else None} for k, row in enumerate(table())]
    chosen = [None, *([name] for name in model.heads), None, *([name] for name in model.heads)][:10]
    counted = [passed(model, rows, mh.Frozen(l2=0.1 / (k + 1)), heads=names) for k, names in enumerate(chosen)]
    assert counted == [len(TEXTS) + len(LABELS), *[0] * 9]


# --- L24: nothing stale ---------------------------------------------------------------------------


def other_texts(folder: Path, place: Path) -> tuple[mh.HeadedModel, Table]:
    return loaded(folder), table([f"{text} today" for text in TEXTS])


def other_tokenizer(folder: Path, place: Path) -> tuple[mh.HeadedModel, Table]:
    model = loaded(folder)
    known = model.tokenizer.get_vocab()
    words = sorted(word for word in known if known[word] > 4)
    turned = known | {word: known[words[place - 1]] for place, word in enumerate(words)}
    model.tokenizer.backend_tokenizer.model = WordLevel(turned, unk_token="[UNK]")
    return model, table()


def other_weight(folder: Path, place: Path) -> tuple[mh.HeadedModel, Table]:
    model = loaded(folder)
    with torch.no_grad():
        next(model.backbone.bert.encoder.parameters())[0, 0] += 0.5
    return model, table()


def other_file(folder: Path, place: Path) -> tuple[mh.HeadedModel, Table]:
    config = json.loads((Path(shutil.copytree(folder, place / "copy")) / "config.json").read_text())
    (place / "copy" / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.5}))
    return loaded(place / "copy"), table()


def other_config(folder: Path, place: Path) -> tuple[mh.HeadedModel, Table]:
    model = loaded(folder)
    model.backbone.config.hidden_act = "relu"
    return model, table()


def other_attention(folder: Path, place: Path) -> tuple[mh.HeadedModel, Table]:
    model = loaded(folder)
    model.backbone.set_attn_implementation("eager")
    return model, table()


CHANGES: dict[str, Callable[[Path, Path], tuple[mh.HeadedModel, Table]]] = {
    "text": other_texts,
    "tokenizer": other_tokenizer,
    "weight": other_weight,
    "config.json": other_file,
    "config in memory": other_config,
    "attention": other_attention,
    "dtype": lambda folder, place: (loaded(folder, dtype=torch.bfloat16), table()),
    "layer": lambda folder, place: (loaded(folder, {"hours": mh.Regression(reads=mh.Hidden(-2))}), table()),
    "pool": lambda folder, place: (
        loaded(folder, {"hours": mh.Regression(reads=mh.Hidden(pool="max"))}),
        table(),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_stale_is_met(saved: Saved, tmp_path: Path, change: str) -> None:
    passed(loaded(saved("bert")), table())
    model, rows = CHANGES[change](saved("bert"), tmp_path)
    live, _ = CHANGES[change](saved("bert"), tmp_path / "live")
    assert passed(model, rows) == len(TEXTS)
    passed(live, rows, mh.Frozen(cache=None, l2=0.1))
    assert_same_heads(model, live)


def test_another_length_is_another_text(saved: Saved) -> None:
    passed(loaded(saved("bert")), table())
    model, live = loaded(saved("bert")), loaded(saved("bert"))
    assert passed(model, table(), max_length=5) == len(TEXTS)
    passed(live, table(), mh.Frozen(cache=None, l2=0.1), max_length=5)
    assert_same_heads(model, live)


@pytest.mark.parametrize("first", [torch.float32, torch.bfloat16])
def test_weights_that_were_rounded_at_loading_are_other_weights(saved: Saved, first: torch.dtype) -> None:
    """Both run in fp32, from the same files, but a weight in bf16 has lost its last digits for good."""
    exact = mh.Frozen(dtype="float32", l2=0.1)
    second = torch.bfloat16 if first is torch.float32 else torch.float32
    passed(loaded(saved("bert"), dtype=first), table(), exact)
    model, live = loaded(saved("bert"), dtype=second), loaded(saved("bert"), dtype=second)
    assert passed(model, table(), exact) == len(TEXTS)
    passed(live, table(), mh.Frozen(cache=None, dtype="float32", l2=0.1))
    assert_same_heads(model, live)


# --- the search sees training rows alone ----------------------------------------------------------


def test_evaluation_labels_move_neither_weights_nor_search(saved: Saved) -> None:
    train, evaluate = table(TEXTS[:42]), table(TEXTS[42:])
    labels = random.Random(0).sample([row["urgency"] for row in evaluate], len(evaluate))
    altered = [{**row, "urgency": label, "topics": []} for row, label in zip(evaluate, labels, strict=True)]
    results = []
    models = [loaded(saved("bert"), SEARCHED) for _ in range(2)]
    for model, held_out in zip(models, (evaluate, altered), strict=True):
        results.append(mh.train(model, train, text="text", method=mh.Frozen(l2=0.1), eval_data=held_out))
    assert_same_heads(*models)
    assert results[0].search == results[1].search
    for name in SEARCHED:
        np.testing.assert_array_equal(results[0].out_of_fold[name].logits, results[1].out_of_fold[name].logits)
    assert results[0].metrics["urgency"] != results[1].metrics["urgency"]


def test_the_backbone_is_untouched_by_what_the_cache_gives(saved: Saved) -> None:
    model = loaded(saved("bert"), PLAIN)
    before = tensors_digest(model.backbone)
    passed(model, table())
    assert mh.train(model, table(), text="text", method=mh.Frozen(l2=0.1)).lm_check.bit_identical
    assert tensors_digest(model.backbone) == before
