"""Heads that read other heads: what they read, that nothing flows back, and that nothing is read that is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

import manyheads as mh
from manyheads.checkpoint.format import HEADS_JSON
from tests.families import BY_NAME, FAMILIES, Family, tokenizer_for
from tests.laws.oracle import add_heads, changed, different_texts, over, padded, rows_of, rows_read, snapshot
from tests.laws.test_keeping import write_signed

LABELS = ["routine", "urgent", "emergency"]
SOURCES: dict[str, Any] = {
    "multiclass": mh.Multiclass(LABELS),
    "multilabel": mh.MultiLabel(["pain", "fever"], hidden=[8]),
    "ordinal": mh.Ordinal(["low", "middle", "high", "highest"], reads=mh.Hidden(pool="attention")),
    "regression": mh.Regression(reads=mh.Hidden(layer=1, pool="max")),
}
REPORTED: dict[str, Callable[[Tensor], Tensor]] = {
    "multiclass": lambda logits: logits.softmax(dim=1),
    "multilabel": lambda logits: logits.sigmoid(),
    "ordinal": lambda logits: _differences(logits.sigmoid().cumprod(dim=1)),
    "regression": lambda logits: logits,
}
TARGETS = {
    "multiclass": torch.tensor([0, 1, 2, 0, 1, 2]),
    "multilabel": torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 0]]),
    "ordinal": torch.tensor([3, 0, 1, 2, 3, 0]),
    "regression": torch.tensor([0.5, 1.0, -1.0, 2.0, 0.0, 0.1]),
}
every_source = pytest.mark.parametrize("source", SOURCES)


def _differences(beyond: Tensor) -> Tensor:
    ones, zeros = torch.ones(len(beyond), 1), torch.zeros(len(beyond), 1)
    return torch.cat([ones, beyond], dim=1) - torch.cat([beyond, zeros], dim=1)


def headed(specs: dict[str, Any], family: Family = BY_NAME["bert"]) -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    add_heads(model, specs)
    return model.eval()


def chained() -> dict[str, Any]:
    """A head that reads a head that reads all others."""
    return {
        **SOURCES,
        "joint": mh.Multiclass(LABELS, reads=[mh.Hidden(), *map(mh.Output, SOURCES)]),
        "last": mh.Ordinal(LABELS, reads=[mh.Output("joint"), mh.Hidden(pool="max")], hidden=[4]),
    }


def batch_of(family: Family = BY_NAME["bert"], rows: int = 6) -> dict[str, Tensor]:
    return padded(rows_of(family)[:rows])


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.grad for name, tensor in module.named_parameters() if tensor.grad is not None}


# --- what is read ---------------------------------------------------------------------------------


@every_source
@over("L10", [BY_NAME[name] for name in ("gpt2", "bert", "t5")])
def test_it_reads_the_other_heads_probabilities(family: Family, source: str) -> None:
    reads = [mh.Hidden(pool="mean"), mh.Output(source)]
    model = headed({source: SOURCES[source], "probe": mh.Multiclass(LABELS, reads=mh.Hidden(pool="mean"))}, family)
    add_heads(model, {"after": mh.Multiclass(LABELS, reads=reads)})
    with torch.no_grad():
        logits = model(**batch_of(family)).logits
        model.heads["probe"].output.weight.copy_(model.heads["after"].output.weight[:, :32])
        hidden = model(**batch_of(family), heads=["probe"]).logits["probe"] - model.heads["probe"].output.bias
        after = model.heads["after"].output
        expected = hidden + REPORTED[source](logits[source]) @ after.weight[:, 32:].T + after.bias
    torch.testing.assert_close(logits["after"], expected, rtol=1e-5, atol=1e-5)


@every_source
def test_alone_it_is_all_that_a_head_reads(source: str) -> None:
    model = headed({source: SOURCES[source], "after": mh.Regression(reads=mh.Output(source))})
    with torch.no_grad():
        logits = model(**batch_of()).logits
        expected = model.heads["after"].output(REPORTED[source](logits[source]))
    torch.testing.assert_close(logits["after"], expected, rtol=1e-5, atol=1e-6)
    (tap,) = model.heads["after"].taps
    assert tap == mh.Output(source, scores=expected.new_tensor(REPORTED[source](logits[source]).shape[1]).int().item())


# --- L12, L14: losses and gradients ---------------------------------------------------------------


@every_source
def test_l12_nothing_flows_back_into_the_head_that_is_read(source: str) -> None:
    model = headed({source: SOURCES[source], "after": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Output(source)])})
    labels = {source: TARGETS[source], "after": TARGETS["multiclass"]}
    out = model(**batch_of(), labels=labels)
    out.loss.backward()
    found = {name: tensor.clone() for name, tensor in gradients(model).items()}
    model.zero_grad()

    # By hand: what the other head shows is a constant.
    again = model(**batch_of())
    reported = REPORTED[source](again.logits[source]).detach()
    after = model.heads["after"].output
    rest = F.cross_entropy(
        again.logits["after"] - (reported - reported) @ after.weight[:, 32:].T, TARGETS["multiclass"]
    )
    alone = model(**batch_of(), labels={source: TARGETS[source]}, heads=[source]).loss
    torch.testing.assert_close(out.loss, rest + alone, atol=1e-6, rtol=1e-6)
    (rest + alone).backward()
    assert found.keys() == gradients(model).keys()
    for name, tensor in gradients(model).items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-5, msg=name)

    model.zero_grad()
    model(**batch_of(), labels={"after": TARGETS["multiclass"]}).loss.backward()
    assert not gradients(model.heads[source])
    assert gradients(model.heads["after"])
    assert gradients(model.backbone)


@every_source
def test_l12_a_head_that_reads_nothing_else_gives_the_backbone_no_gradient(source: str) -> None:
    model = headed({source: SOURCES[source], "after": mh.Multiclass(LABELS, reads=mh.Output(source))})
    model(**batch_of(), labels={"after": TARGETS["multiclass"]}).loss.backward()
    assert set(gradients(model)) == {
        "core.heads.head_after.output.weight", "core.heads.head_after.output.bias"
    }  # fmt: skip


@pytest.mark.parametrize("unlabelled", ["multiclass", "after"])
def test_l14_a_head_without_labels_is_not_moved_by_those_that_read_it(unlabelled: str) -> None:
    specs = {
        "multiclass": SOURCES["multiclass"],
        "after": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Output("multiclass")]),
    }
    model = headed(specs).train()
    labels = dict.fromkeys(specs, TARGETS["multiclass"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    model(**batch_of(), labels=labels).loss.backward()
    optimizer.step()
    before = snapshot(model.heads[unlabelled])
    labels[unlabelled] = torch.full((6,), -100)
    for _ in range(5):
        optimizer.zero_grad()
        model(**batch_of(), labels=labels).loss.backward()
        optimizer.step()
    assert changed(model.heads[unlabelled], before) == []


# --- L23: one forward, and only what is asked for -------------------------------------------------


@over("L23", FAMILIES)
def test_a_head_asked_for_alone_brings_those_it_reads_in_one_pass(family: Family) -> None:
    model = headed(chained(), family)
    everything = model(**batch_of(family)).logits
    with rows_read(model.backbone) as rows:
        alone = model(**batch_of(family), heads=["last"])
    assert len(rows) == 1
    assert list(alone.logits) == ["last"]
    torch.testing.assert_close(alone.logits["last"], everything["last"], atol=1e-6, rtol=1e-5)
    labelled = model(**batch_of(family), heads=["last"], labels={"last": TARGETS["multiclass"]})
    assert list(labelled.losses) == ["last"]


def test_a_chain_is_evaluated_in_order_however_it_is_asked_for() -> None:
    model = headed(chained())
    with torch.no_grad():
        logits = model(**batch_of()).logits
        for names in (["last", "joint"], ["joint", "multilabel"], ["last"]):
            found = model(**batch_of(), heads=names).logits
            assert list(found) == [name for name in model.heads if name in names]
            for name in names:
                torch.testing.assert_close(found[name], logits[name], atol=1e-6, rtol=1e-5)
        reported = torch.cat([REPORTED[name](logits[name]) for name in SOURCES], dim=1)
        joint = model.heads["joint"].output
        slope = logits["joint"] - reported @ joint.weight[:, 32:].T
        assert float(slope.std()) > 0.01  # the hidden states say something too


# --- L24: cached features, and training -----------------------------------------------------------


@over("L24", [BY_NAME[name] for name in ("gpt2", "bert", "t5")])
def test_predictions_equal_a_live_forward(family: Family) -> None:
    model = headed(chained(), family)
    for head in model.heads.values():
        head.trained = True
    texts = different_texts(20)
    found = model.predict(texts).logits
    rows = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in texts]
    with torch.no_grad():
        live = model(**padded(rows)).logits
    for name, values in found.items():
        torch.testing.assert_close(torch.from_numpy(values), live[name], atol=1e-5, rtol=1e-5)
    (alone,) = model.predict(texts, heads=["last"]).logits.values()
    np.testing.assert_allclose(alone, found["last"], atol=1e-6)


def table(rows: int, seed: int = 0) -> list[dict[str, object]]:
    """Texts; ``noise`` follows from nothing in them, and ``after`` is the very same."""
    draw = np.random.default_rng(seed)
    noise = [LABELS[place] for place in draw.integers(3, size=rows)]
    return [
        {"text": text, "noise": label, "after": label, "level": LABELS[row % 3], "words": float(len(text.split()))}
        for row, (text, label) in enumerate(zip(different_texts(rows), noise, strict=True))
    ]


def trained(specs: dict[str, Any], data: object, runs: list[list[str]], **settings: Any) -> tuple[mh.HeadedModel, Any]:
    model = headed(specs)
    for heads in runs:
        result = mh.train(
            model, data, "text", mh.Frozen(cache=None, dtype="float32", **settings), heads=heads, eval_fraction=0
        )
    return model, result


def test_a_head_learns_from_what_the_other_reports_of_rows_that_it_did_not_see() -> None:
    """scikit-learn's LogisticRegression on the out-of-fold probabilities is the head that was solved."""
    specs = {"level": mh.Multiclass(LABELS), "after": mh.Multiclass(LABELS, reads=mh.Output("level"))}
    data = table(90)
    data = [
        {**row, "after": LABELS[len(str(row["text"])) % 3] if place % 7 else None} for place, row in enumerate(data)
    ]
    model, result = trained(specs, data, [["level", "after"]], l2=0.01)
    seen = result.out_of_fold["level"]
    assert sorted(seen.rows) == list(range(90))
    reported = torch.zeros(90, 3)
    reported[torch.from_numpy(seen.rows)] = torch.from_numpy(seen.logits).softmax(dim=1)
    kept = [place for place, row in enumerate(data) if row["after"] is not None]
    ranks = [LABELS.index(str(data[place]["after"])) for place in kept]
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.01 * len(kept)), tol=1e-9, max_iter=10_000))
    peer.fit(reported[kept].double().numpy(), ranks)
    with torch.no_grad():
        mine = model.heads["after"].output(reported[kept]).softmax(dim=1)
    np.testing.assert_allclose(mine, peer.predict_proba(reported[kept].double().numpy()), atol=2e-3)


def test_what_is_learned_by_heart_is_not_passed_on_as_known() -> None:
    # Told what to read: a search finds that nothing is worth reading.
    noise = mh.Multiclass(LABELS, reads=mh.Hidden())
    specs = {"noise": noise, "after": mh.Multiclass(LABELS, reads=mh.Output("noise"))}
    data = table(60)
    texts = [str(row["text"]) for row in data]
    stacked, _ = trained(specs, data, [["noise", "after"]], l2=1e-3)
    plain, _ = trained(specs, data, [["noise"], ["after"]], l2=1e-3)

    def sureness(model: mh.HeadedModel, head: str) -> float:
        # Of the weights: the temperature calibrates what is learned by heart.
        logits = torch.from_numpy(model.predict(texts).logits[head])
        return float(logits.softmax(dim=1).amax(dim=1).mean())

    assert sureness(stacked, "noise") > 0.9  # learned by heart
    assert sureness(plain, "after") > 0.9  # and, in a run of its own, believed
    assert sureness(stacked, "after") < 0.5


def test_every_row_of_a_head_that_is_read_is_held_out_once_however_many_they_are() -> None:
    specs = {
        "words": mh.Regression(),
        "level": mh.Multiclass(LABELS),
        "after": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Output("level")]),
    }
    _, result = trained(specs, table(1100), [["words", "level", "after"]], l2=1.0)
    assert len(result.out_of_fold["level"].rows) == 1100
    assert len(result.out_of_fold["words"].rows) < 300


def test_rows_without_a_label_of_the_other_head_train_all_the_same() -> None:
    specs = {"level": mh.Multiclass(LABELS), "after": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Output("level")])}
    data = [{**row, "level": row["level"] if place % 2 else None} for place, row in enumerate(table(60))]
    model, result = trained(specs, data, [["level", "after"]])
    assert result.rows["after"]["train"] == 60
    assert result.rows["level"]["train"] == 30
    assert all(head.trained for head in model.heads.values())


def chain_of_training() -> dict[str, Any]:
    return {
        "level": mh.Ordinal(LABELS, reads=mh.Hidden(pool="max"), hidden=[4]),
        "words": mh.Regression(reads=[mh.Hidden(), mh.Lexical(), mh.Output("level")]),
        "noise": mh.Multiclass(LABELS, reads="auto"),
        "after": mh.Multiclass(LABELS, reads=[mh.Output("words"), mh.Output("noise"), mh.Hidden(pool="attention")]),
    }


@pytest.mark.parametrize(
    "method",
    [
        mh.Frozen(cache=None),
        mh.Full(epochs=1, top=1, best_by="mean"),
        mh.Fork(epochs=1, top=1, cache=None),
        mh.LoRA(r=2, epochs=1),
        mh.Full(epochs=1, start="random"),
    ],
    ids=["frozen", "full", "fork", "lora", "random start"],
)
def test_a_chain_trains_by_every_method_and_predicts_as_it_runs(method: Any, tmp_path: Path) -> None:
    model = headed(chain_of_training())
    result = mh.train(model, table(60), text="text", method=method, out=tmp_path / "model")
    assert set(result.metrics) == set(model.heads)
    texts = different_texts(12)
    found = model.predict(texts).logits
    rows = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in texts]
    with torch.no_grad():
        live = model(**padded(rows)).logits
    again = mh.HeadedModel.from_pretrained(tmp_path / "model").predict(texts).logits
    for name, values in found.items():
        torch.testing.assert_close(torch.from_numpy(values), live[name], atol=1e-4, rtol=1e-4)
        np.testing.assert_array_equal(values, again[name])


@pytest.mark.parametrize(
    "method",
    [mh.Frozen(cache=None), mh.Full(epochs=1, lr=1e-3), mh.Fork(epochs=1, top=1, cache=None), mh.LoRA(r=2, epochs=1)],
    ids=["frozen", "full", "fork", "lora"],
)
@pytest.mark.parametrize(
    "before", [mh.Frozen(cache=None), mh.Fork(epochs=1, top=1, cache=None)], ids=["plain", "forked"]
)
def test_a_head_that_is_only_read_stays_as_it_is(method: Any, before: Any) -> None:
    model = headed({"level": mh.Multiclass(LABELS)})
    data = table(40)
    mh.train(model, data, text="text", method=before)
    model.add_head("after", mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Output("level")]))
    if isinstance(method, mh.Full) and isinstance(before, mh.Fork):
        with pytest.raises(mh.errors.BackboneError, match="'level'"):
            mh.train(model, data, text="text", method=method, heads=["after"])
        return
    weights = snapshot(model.heads["level"])
    reported = model.predict([str(row["text"]) for row in data], heads=["level"]).logits["level"]
    mh.train(model, data, text="text", method=method, heads=["after"])
    assert changed(model.heads["level"], weights) == []
    if not isinstance(method, mh.Full):  # which changes the backbone under it
        again = model.predict([str(row["text"]) for row in data], heads=["level"]).logits["level"]
        np.testing.assert_allclose(again, reported, atol=1e-5)


def test_frozen_training_of_a_chain_reads_each_row_once() -> None:
    model = headed(chain_of_training())
    with rows_read(model.backbone) as rows:
        mh.train(model, table(40), text="text", method=mh.Frozen(cache=None, dtype="float32"), eval_fraction=0)
    assert sum(rows) == 40 + len(LABELS)  # and the names of the labels


def test_a_head_whose_reading_changed_under_it_is_named() -> None:
    specs = {"level": mh.Multiclass(LABELS), "after": mh.Multiclass(LABELS, reads=mh.Output("level"))}
    _, result = trained(specs, table(40), [["level", "after"], ["level"]])
    assert [note for note in result.notes if "'after'" in note and "were not trained" in note]
    _, result = trained(specs, table(40), [["level", "after"], ["after"]])
    assert not [note for note in result.notes if "were not trained" in note]


# --- errors -------------------------------------------------------------------------------------


def two() -> dict[str, Any]:
    return {"level": mh.Multiclass(LABELS), "after": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Output("level")])}


@pytest.mark.parametrize(
    ("head", "reads", "words"),
    [
        ("after", "levle", ("'levle'", "did you mean 'level'", "add the one that is read first")),
        ("itself", "itself", ("'itself'", "add the one that is read first")),
    ],
)
def test_a_head_that_is_not_there_cannot_be_read(head: str, reads: str, words: tuple[str, ...]) -> None:
    model = headed({"level": mh.Multiclass(LABELS)})
    with pytest.raises(mh.errors.UnknownHeadError) as caught:
        model.add_head(head, mh.Multiclass(LABELS, reads=mh.Output(reads)))
    assert all(word in str(caught.value) for word in words)
    assert list(model.heads) == ["level"]


def test_more_scores_than_the_head_has_cannot_be_read() -> None:
    model = headed({"level": mh.Multiclass(LABELS)})
    with pytest.raises(mh.errors.HeadError, match="reads 4 scores of head 'level', which has 3"):
        model.add_head("after", mh.Multiclass(LABELS, reads=mh.Output("level", scores=4)))


def test_a_label_that_a_read_head_gets_later_changes_nothing_before_the_next_training(tmp_path: Path) -> None:
    model = headed({"level": mh.Multiclass(LABELS), "after": mh.Multiclass(["x", "y"], reads=mh.Output("level"))})
    for head in model.heads.values():
        head.trained = True
    before = model.predict(["pain", "a fever"]).scores["after"]
    model.heads["level"].add_label("new")
    model.save_pretrained(tmp_path / "model")
    for changed_model in (model, mh.HeadedModel.from_pretrained(tmp_path / "model")):
        after = changed_model.predict(["pain", "a fever"]).scores["after"]
        np.testing.assert_allclose(after, before, atol=1e-4)  # the new label's probability is not quite zero


@pytest.mark.parametrize(("head", "scores"), [("", None), (None, None), (3, None), ("a", 0), ("a", True), ("a", "3")])
def test_an_output_of_nothing_is_rejected(head: Any, scores: Any) -> None:
    with pytest.raises(mh.errors.HeadError, match=r"^Output: "):
        mh.Output(head, scores)


def test_a_head_that_is_read_cannot_be_removed_before_what_reads_it() -> None:
    model = headed(two())
    with pytest.raises(mh.errors.HeadError, match="Head 'level': is read by 'after'; remove these heads first"):
        model.remove_head("level")
    assert list(model.heads) == ["level", "after"]
    model.remove_head("after")
    model.remove_head("level")
    assert not model.heads


def test_a_head_that_never_learned_is_not_learned_from() -> None:
    model = headed(two())
    with pytest.raises(mh.errors.HeadError, match="Head 'after': reads the untrained head 'level'"):
        mh.train(model, table(20), text="text", heads=["after"])
    model.heads["after"].trained = True
    with pytest.warns(mh.errors.UntrainedHeadWarning, match="'level'"):
        model.predict(["pain"], heads=["after"])


# --- L19, L20, L21: kept together -----------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, saved: Callable[[str], Path]) -> Path:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    add_heads(model, {**two(), "level2": mh.Multiclass(LABELS)})
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_l20_a_head_is_not_saved_without_what_it_reads(folder: Path, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(folder)
    with pytest.raises(mh.errors.CheckpointError, match="Head 'after': reads 'level', which is not saved"):
        model.save_head("after", tmp_path / "after")
    assert not (tmp_path / "after").exists()
    model.save_head("level", tmp_path / "level")


def test_l20_a_head_is_loaded_beside_the_very_head_that_it_reads(folder: Path, saved: Callable[[str], Path]) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    with pytest.raises(mh.errors.HeadError, match="reads head 'level', and there is none of that name here"):
        model.load_head(folder, head="after")
    model.load_head(folder, head="level2", name="level")
    with pytest.raises(mh.errors.HeadError, match="reads head 'level', and there is another one of that name here"):
        model.load_head(folder, head="after")
    assert list(model.heads) == ["level"]
    model.remove_head("level")
    model.load_head(folder, head="level")
    model.load_head(folder, head="after", name="renamed")
    whole = mh.HeadedModel.from_pretrained(folder)
    with torch.no_grad():
        found, expected = model(**batch_of()).logits, whole(**batch_of()).logits
    torch.testing.assert_close(found["renamed"], expected["after"], atol=1e-6, rtol=1e-6)


def say(reader: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        (tap,) = [tap for tap in record["heads"][reader]["taps"] if tap["tap"] == "output"]
        tap.update(values)

    return change


def reordered(record: dict[str, Any]) -> None:
    record["heads"] = dict(reversed(record["heads"].items()))


def circular(record: dict[str, Any]) -> None:
    record["heads"]["level"]["taps"].append({"tap": "output", "head": "after", "scores": 3})


def wrapped(kind: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        taps = record["heads"]["after"]["taps"]
        taps[1] = {"tap": kind, "reads": taps[1], **values}

    return change


FORGED = {
    "no such head": (say("after", head="spy"), ("'after'", "'spy'", "not declared before it")),
    "itself": (say("after", head="after"), ("'after'", "not declared before it")),
    "a circle": (circular, ("'level'", "'after'", "not declared before it")),
    "another order": (reordered, ("'after'", "'level'", "not declared before it")),
    "another size": (say("after", scores=5), ("'after'", "5 scores of 'level', which has 3")),
    "no size": (say("after", scores=None), ("'after'", "None scores")),
    "a size that is none": (say("after", scores=-3), ("'after'", "scores must be a positive whole number")),
    "no name": (say("after", head=7), ("'after'", "takes the name")),
    "an unknown field": (say("after", module="os"), ("'after'", "'module'")),
    "on a branch": (wrapped("branched", branch="fork"), ("'after'", "must be a tap of the backbone")),
    "of a prompt": (wrapped("prompted", prompt="{text}!"), ("'after'", "must be a tap of the backbone")),
}


@pytest.mark.parametrize("case", FORGED)
def test_l21_what_a_file_reports_of_heads_read_is_not_taken_on_trust(folder: Path, case: str) -> None:
    change, words = FORGED[case]
    record = json.loads((folder / HEADS_JSON).read_text())
    change(record)
    write_signed(folder, record)
    with pytest.raises(mh.errors.CorruptCheckpointError) as caught:
        mh.HeadedModel.from_pretrained(folder)
    message = str(caught.value)
    assert HEADS_JSON in message
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_what_the_lm_head_starts_goes_on_with_what_another_head_says(saved: Callable[[str], Path]) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("level", mh.Multiclass(LABELS))
    reads = [mh.Hidden(prompt="{text} today"), mh.Output("level")]
    model.add_head("after", mh.Multiclass(["pain", "fever"], reads=reads, init="lm_head"))
    assert float(model.heads["after"].output.weight[:, -3:].detach().abs().max()) == 0.0
    data = [{**row, "after": ("pain", "fever")[place % 2]} for place, row in enumerate(table(40))]
    mh.train(model, data, text="text", method=mh.Frozen(cache=None))
    assert float(model.heads["after"].output.weight[:, -3:].detach().abs().max()) > 0.0
    alone, whole = model.predict(["severe pain"], heads=["after"]), model.predict(["severe pain"])
    np.testing.assert_allclose(alone.logits["after"], whole.logits["after"], atol=1e-6)
