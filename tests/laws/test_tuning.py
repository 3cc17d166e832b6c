"""L4, L12, L13, L14 where the backbone is tuned: a step's joint loss is that of all its rows, however they come."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

import manyheads as mh
from manyheads.data.texts.tokenize import tokenize
from manyheads.evaluation.lm_loss import lm_loss
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.training.tuning.step_module import Replay, TrainableCore
from manyheads.training.tuning.trainer import LM
from tests.families import BY_NAME, TEXTS, tokenizer_for
from tests.laws.oracle import RECORDS, changed, snapshot

LABELS = ["routine", "urgent", "emergency"]
ROWS = 16
DATA = [
    {**record, "text": f"{record['text']} {row}", "found": [*record["found"], "O"]}
    for row, record in enumerate(RECORDS * 4)
]

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")


def fresh(family: str = "gpt2", **settings: Any) -> mh.HeadedModel:
    """Return a model without any dropout of the backbone's, so that two runs can be compared."""
    torch.manual_seed(0)
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    model.add_head("urgency", mh.Multiclass(LABELS, class_weights=[1.0, 2.0, 3.0], **settings))
    model.add_head("symptoms", mh.MultiLabel(["pain", "fever", "cough"], loss_weight=0.5))
    model.add_head("age", mh.Regression(reads=mh.Hidden(layer=-2, pool="mean")))
    model.add_head("level", mh.Ordinal(["low", "middle", "high"], class_weights=[1.0, 2.0, 4.0]))
    model.add_head("again", mh.Multiclass(["yes", "no"], reads=[mh.Hidden(), mh.Output("urgency"), mh.Output("age")]))
    model.add_head("found", mh.Tokens(["symptom", "place"], class_weights=[1.0, 2.0, 1.0, 3.0, 1.0]))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


def examples(model: mh.HeadedModel, weighted: bool = False) -> list[dict[str, Any]]:
    """Return rows whose labels are spread unevenly: the first four rows hold most of ``age``, the last none. Some rows
    have the weight 0."""
    draw = np.random.default_rng(3)
    rows = []
    for row in range(ROWS):
        labels: dict[str, Any] = {}
        if draw.random() < 0.6:
            labels["urgency"] = int(draw.integers(3))
        if row % 3:
            labels["symptoms"] = draw.integers(2, size=3).astype(float).tolist()
        if row < 4 or row == 9:
            labels["age"] = float(draw.normal())
        if row % 2 or row > 11:
            labels["level"] = row % 3
        if row % 4 < 2:
            labels["again"] = row // 4 % 2
        ids = model.tokenizer(TEXTS[row % len(TEXTS)])["input_ids"]
        if row % 5:  # one label per token, a fifth of them missing
            known = draw.random(len(ids)) < 0.8
            labels["found"] = np.where(known, draw.integers(5, size=len(ids)), -100).tolist()
        rows.append({"input_ids": ids, "labels": labels, **({"sample_weight": row % 3 / 2} if weighted else {})})
    return rows


def arguments(folder: Path, batch: int, accumulation: int, **settings: Any) -> transformers.TrainingArguments:
    return transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        max_steps=1, max_grad_norm=0.0, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        use_cpu=True, train_sampling_strategy="sequential", dataloader_pin_memory=False, **settings,
    )  # fmt: skip


def one_step(
    model: mh.HeadedModel, folder: Path, batch: int, accumulation: int, lm_weight: float, weighted: bool = False
) -> dict[str, Tensor]:
    """Take one step of plain gradient descent at rate one, and return the gradient: what each tensor lost."""
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    constant = torch.optim.lr_scheduler.ConstantLR(descent, factor=1.0)
    run = mh.Trainer(
        model, arguments(folder, batch, accumulation), train_dataset=examples(model, weighted), lm_weight=lm_weight,
        optimizers=(descent, constant),
    )  # fmt: skip
    run.train()
    return {name: before[name] - tensor.detach() for name, tensor in model.named_parameters()}


def by_hand(model: mh.HeadedModel, lm_weight: float, weighted: bool = False) -> dict[str, Tensor]:
    """Return the gradient of all rows as one batch, without any trainer."""
    batch = mh.collate(examples(model, weighted))
    labels = dict(batch.pop("labels"))
    model.train()
    out = model(**batch, labels=labels, lm=lm_weight > 0)
    loss = out.loss
    if lm_weight > 0:
        targets = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = loss + lm_weight * model.backbone(**batch, labels=targets).loss
    loss.backward()
    zero = torch.zeros(())
    return {name: zero if tensor.grad is None else tensor.grad for name, tensor in model.named_parameters()}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient.expand_as(found[name]), atol=1e-5, rtol=1e-4)


# --- L13: accumulation ----------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5", "llama"])
@pytest.mark.parametrize(("batch", "accumulation"), [(16, 1), (4, 4), (2, 8)])
def test_l13_a_step_is_the_gradient_of_all_its_rows(family: str, batch: int, accumulation: int, tmp_path: Path) -> None:
    assert_close(one_step(fresh(family), tmp_path, batch, accumulation, 0.0), by_hand(fresh(family), 0.0))


@pytest.mark.parametrize(("batch", "accumulation"), [(16, 1), (4, 4)])
def test_l13_holds_for_the_lm_loss_beside_the_heads(batch: int, accumulation: int, tmp_path: Path) -> None:
    assert_close(one_step(fresh("gpt2"), tmp_path, batch, accumulation, 0.7), by_hand(fresh("gpt2"), 0.7))


@pytest.mark.parametrize(("batch", "accumulation"), [(16, 1), (4, 4), (1, 16)])
def test_l13_holds_for_weighted_rows(batch: int, accumulation: int, tmp_path: Path) -> None:
    found = one_step(fresh("bert"), tmp_path, batch, accumulation, 0.0, weighted=True)
    assert_close(found, by_hand(fresh("bert"), 0.0, weighted=True))


def test_l13_the_lm_loss_is_transformers_own() -> None:
    model = fresh("gpt2").eval()
    batch = mh.collate(examples(model))
    batch.pop("labels")
    targets = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    with torch.no_grad():
        own = model.backbone(**batch, labels=targets)
    total, count = lm_loss(own.logits, batch["input_ids"], batch["attention_mask"])
    assert float(total / count) == pytest.approx(float(own.loss), rel=1e-5)


def test_l13_every_row_is_trained_on_once_per_epoch() -> None:
    model = fresh("bert")
    seen: list[int] = []
    stack = model.core.backbone.stack
    handle = stack.register_forward_hook(
        lambda module, _, kwargs, __: seen.append(len(kwargs["input_ids"])) if module.training else None,
        with_kwargs=True,
    )
    mh.train(model, DATA[:50], "text", mh.Full(epochs=2, batch_rows=8, start="random"), heads=["age"], eval_fraction=0)
    handle.remove()
    assert sum(seen) == 2 * 50


# --- plain Trainer --------------------------------------------------------------------------------


def plain(model: mh.HeadedModel, folder: Path, accumulation: int) -> transformers.Trainer:
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    return transformers.Trainer(
        model=model, args=arguments(folder, ROWS // accumulation, accumulation), data_collator=mh.collate,
        train_dataset=examples(model), optimizers=(descent, torch.optim.lr_scheduler.ConstantLR(descent, factor=1.0)),
    )  # fmt: skip


def test_a_plain_trainer_trains_right_without_accumulation(tmp_path: Path) -> None:
    model = fresh("bert")
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    result = plain(model, tmp_path, 1).train()
    assert result.training_loss > 0
    found = {name: before[name] - tensor.detach() for name, tensor in model.named_parameters()}
    assert_close(found, by_hand(fresh("bert"), 0.0))


def test_a_plain_trainer_that_accumulates_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(mh.errors.InputError, match=r"use mh\.Trainer"):
        plain(fresh("bert"), tmp_path, 4).train()


def test_evaluation_never_gathers_losses_or_lm_logits(tmp_path: Path) -> None:
    model = fresh("gpt2")
    run = mh.Trainer(model, arguments(tmp_path, 8, 1), eval_dataset=examples(model))
    found = run.predict(examples(model))
    assert set(found.predictions) == set(found.label_ids) == set(model.heads)
    assert {name: len(values) for name, values in found.predictions.items()} == dict.fromkeys(model.heads, ROWS)
    assert found.predictions["urgency"].shape == (ROWS, 3)


# --- L4, L14: what changes ------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama", "t5", "modernbert"])
def test_l4_the_top_two_blocks_change_and_nothing_else(family: str) -> None:
    model = fresh(family)
    blocks = model.core.backbone.blocks()
    top = {id(parameter) for block in blocks[-2:] for parameter in block.parameters()}
    names = {name for name, parameter in model.backbone.named_parameters() if id(parameter) in top}
    before = snapshot(model.backbone)
    result = mh.train(model, DATA, "text", mh.Full(top=2, epochs=1, lr=1e-3, weight_decay=0.1), eval_fraction=0.2)
    assert set(changed(model.backbone, before)) <= names
    assert len(set(changed(model.backbone, before))) > len(names) / 2
    assert not result.lm_check.bit_identical
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not model.backbone.training


def test_l4_shared_layers_are_rejected_by_name() -> None:
    model = fresh("albert")
    with pytest.raises(mh.errors.BackboneError, match="leave top out"):
        mh.train(model, DATA, "text", mh.Full(top=1))


def test_l14_a_head_that_is_not_trained_does_not_drift() -> None:
    model = fresh("bert")
    before = snapshot(model.heads["symptoms"])
    mh.train(model, DATA, "text", mh.Full(epochs=1, weight_decay=0.1), heads=["urgency"], eval_fraction=0)
    assert changed(model.heads["symptoms"], before) == []


def test_l14_a_head_without_labels_in_a_step_does_not_move(tmp_path: Path) -> None:
    model = fresh("bert")
    rows = [{**row, "labels": {"urgency": 1}} for row in examples(model)]
    before = snapshot(model.heads["age"])
    mh.Trainer(model, arguments(tmp_path, 8, 2, learning_rate=1e-2, weight_decay=0.1), train_dataset=rows).train()
    assert changed(model.heads["age"], before) == []


# --- when it goes wrong ---------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_head_step_and_rows_and_changes_nothing() -> None:
    model = fresh("bert")
    rows = [{"text": row["text"], "age": 3e38 if number == 7 else 1.0} for number, row in enumerate(DATA)]
    backbone, head = snapshot(model.backbone), snapshot(model.heads["age"])
    with pytest.raises(mh.errors.TrainingError, match=r"Head 'age': its loss is not finite at step \d+, training rows"):
        mh.train(model, rows, "text", mh.Full(start="random"), heads=["age"], eval_fraction=0)
    assert changed(model.backbone, backbone) == []
    assert changed(model.heads["age"], head) == []
    assert not model.heads["age"].trained


def test_an_interrupted_run_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh("bert")
    backbone = snapshot(model.backbone)
    steps: list[int] = []

    def interrupt(*_: object) -> None:
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(mh.Trainer, "_check_finite", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mh.train(model, DATA, "text", mh.Full(lr=1e-2), heads=["urgency"], eval_fraction=0)
    assert changed(model.backbone, backbone) == []
    assert not model.heads["urgency"].trained


def test_a_tuned_model_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    model = fresh("gpt2")
    result = mh.train(model, DATA, "text", mh.Full(epochs=1, lr=1e-3, lm_weight=0.5), out=tmp_path / "tuned")
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "tuned")
    assert changed(loaded.backbone, snapshot(model.backbone)) == []
    texts = [str(row["text"]) for row in DATA[:5]]
    for name, logits in model.predict(texts).logits.items():
        again = loaded.predict(texts).logits[name]
        assert np.array_equal(np.concatenate(list(logits)), np.concatenate(list(again)))
    check = result.lm_check
    assert check.perplexity is not None
    assert check.reference_perplexity is not None
    assert math.isfinite(check.perplexity)
    assert [record["epoch"] for record in result.history["urgency"]] == [0.0, 1.0]
    assert LM not in result.metrics


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"top": 0}, "top must be a positive"),
        ({"epochs": 0}, "epochs must be"),
        ({"lr": float("nan")}, "lr must be"),
        ({"start": "warm"}, "start must be one of"),
        ({"lm_weight": -1}, "lm_weight must be"),
        ({"batch_rows": 2.5}, "batch_rows must be"),
    ],
)
def test_a_setting_out_of_range_is_rejected(settings: dict[str, Any], reported: str) -> None:
    with pytest.raises(mh.errors.MethodError, match=reported):
        mh.Full(**settings)


@pytest.mark.parametrize(("family", "settings"), [("bert", {"lm_weight": 0.5}), ("gpt2", {"top": 99})])
def test_what_the_backbone_cannot_do_is_rejected_before_anything_runs(family: str, settings: dict[str, Any]) -> None:
    with pytest.raises(mh.errors.BackboneError):
        mh.train(fresh(family), DATA, "text", mh.Full(**settings))


# --- limited hardware -----------------------------------------------------------------------------


def kept_for_backward(family: str, method: mh.Full | mh.Fork) -> tuple[int, dict[str, Tensor]]:
    """Return the largest number of bytes that a forward kept for its backward, and the tuned model's weights."""
    model, held, most = fresh(family), [0], [0]

    def keep(tensor: Tensor) -> Tensor:
        held[0] += tensor.numel() * tensor.element_size()
        most[0] = max(most[0], held[0])
        return tensor

    step = mh.Trainer.training_step

    def counted(self: mh.Trainer, *given: Any) -> Tensor:
        held[0] = 0
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            return step(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mh.Trainer, "training_step", counted)
        mh.train(model, DATA, "text", method, eval_fraction=0)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    return most[0], state


@pytest.mark.parametrize("method", [mh.Full, mh.Fork])
@pytest.mark.parametrize("family", ["gpt2", "bert", "llama", "t5"])
def test_gradient_checkpointing_gives_the_same_weights_from_less_memory(family: str, method: Any) -> None:
    settings: dict[str, Any] = {"epochs": 1, "lr": 1e-3, "start": "random"}
    whole, expected = kept_for_backward(family, method(**settings))
    less, found = kept_for_backward(family, method(**settings, gradient_checkpointing=True))
    assert less < 0.8 * whole
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", [mh.Full(lr=1e-3), mh.Fork(lr=1e-3)], ids=["full", "fork"])
@pytest.mark.parametrize("family", ["gpt2", "bert", "llama"])
def test_a_backbone_in_few_bits_trains_beside_heads_in_fp32(
    family: str, method: mh.Full | mh.Fork, saved: Callable[[str], Path]
) -> None:
    model = mh.HeadedModel.from_pretrained(saved(family), dtype=torch.bfloat16)
    model.add_head("urgency", mh.Multiclass(LABELS))
    model.add_head("age", mh.Regression(hidden=[8], dropout=0.1))
    result = mh.train(model, DATA, "text", method, eval_fraction=0.2, seed=3)
    assert {tensor.dtype for tensor in model.backbone.parameters()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in model.heads.parameters()} == {torch.float32}
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.parameters())
    assert result.metrics["urgency"]["accuracy"] > 0.5
    assert any("which loses small updates" in note for note in result.notes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", [mh.Full, mh.Fork])
def test_steps_in_bf16_leave_weights_and_heads_in_fp32(method: Any, dtype: str) -> None:
    model = fresh("bert")
    seen: set[torch.dtype] = set()
    handle = model.heads["urgency"].output.register_forward_hook(lambda _, given, out: seen.update({out.dtype}))
    blocks: set[torch.dtype] = set()
    linear = torch.nn.functional.linear

    def watched(given: Tensor, *rest: Any) -> Tensor:
        found = linear(given, *rest)
        if model.training or any(module.training for module in model.modules()):
            blocks.add(found.dtype)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", watched)
        result = mh.train(model, DATA, "text", method(lr=1e-3, dtype=dtype), eval_fraction=0.2)
    handle.remove()
    assert (torch.bfloat16 in blocks) == (dtype == "bfloat16")
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    assert result.metrics["urgency"]["accuracy"] > 0.5
    assert seen <= {torch.float32}


@pytest.mark.parametrize("method", [mh.Full(), mh.Fork()], ids=["full", "fork"])
def test_a_backbone_in_fp16_is_not_stepped(method: mh.Full | mh.Fork, saved: Callable[[str], Path]) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"), dtype=torch.float16)
    model.add_head("urgency", mh.Multiclass(LABELS))
    with pytest.raises(mh.errors.BackboneError, match="load it with dtype='bfloat16' or 'float32'"):
        mh.train(model, DATA, "text", method)


@pytest.mark.parametrize("method", [mh.Full(), mh.Fork()], ids=["full", "fork"])
def test_a_quantised_backbone_is_not_stepped(method: mh.Full | mh.Fork) -> None:
    model = fresh("llama")
    model.backbone.is_quantized = True
    with pytest.raises(mh.errors.BackboneError, match="quantized; train heads on it with Frozen"):
        mh.train(model, DATA, "text", method)


# --- replay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "accumulation"), [(16, 1), (4, 4)])
def test_l13_holds_for_the_lm_loss_on_other_texts(batch: int, accumulation: int, tmp_path: Path) -> None:
    model = fresh("gpt2")
    others = tokenize(
        model.tokenizer, ["the old notes", "blood pressure was taken twice", "home"], None, frozenset({"input_ids"})
    )
    replay = Replay(others)
    rows = [{**example, "rows": row} for row, example in enumerate(examples(model))]
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    mh.Trainer(
        TrainableCore(model.core, list(model.heads), None, Weighting()),
        arguments(tmp_path, batch, accumulation, remove_unused_columns=False), replay.collate, rows, lm_weight=0.7,
        optimizers=(descent, torch.optim.lr_scheduler.ConstantLR(descent, factor=1.0)),
    ).train()  # fmt: skip
    found = {name: before[name] - tensor.detach() for name, tensor in model.named_parameters()}

    hand = fresh("gpt2").train()
    parts = [replay.collate(rows[start : start + batch]) for start in range(0, ROWS, batch)]
    whole = mh.collate(rows)
    loss = hand(**{name: whole[name] for name in ("input_ids", "attention_mask")}, labels=dict(whole["labels"])).loss
    totals = [
        lm_loss(hand.backbone(ids, attention_mask=mask).logits, ids, mask)
        for ids, mask in ((part["replay_input_ids"], part["replay_attention_mask"]) for part in parts)
    ]
    assert sum(len(part["replay_input_ids"]) for part in parts) == ROWS
    (loss + 0.7 * sum(total for total, _ in totals) / sum(count for _, count in totals)).backward()
    zero = torch.zeros(())
    assert_close(found, {name: zero if t.grad is None else t.grad for name, t in hand.named_parameters()})


def test_replayed_texts_hold_the_language_model() -> None:
    """The heads' texts are unlike the old ones, and the language model's loss is on the old ones alone."""
    old = ["blood pressure was taken twice a day", "the old notes were read aloud at home"] * 8

    def loss_after(**settings: Any) -> float:
        model = fresh("gpt2")
        mh.train(model, DATA, "text", mh.Full(lr=1e-3, epochs=2, **settings), heads=["urgency"], eval_fraction=0)
        ids = model.tokenizer(old[0], return_tensors="pt")
        with torch.no_grad():
            return float(model.backbone(**ids, labels=ids["input_ids"]).loss)

    assert loss_after(lm_weight=1.0, replay=old) < loss_after() - 0.5
    assert loss_after(lm_weight=1.0, replay=[{"text": text} for text in old]) < loss_after() - 0.5


@pytest.mark.parametrize(
    ("replay", "reported"),
    [
        ([], "no rows|are empty"),
        (["", " "], "all texts are empty"),
        ([{"note": "a"}], "no column 'text'"),
        (7, "got int|int"),
    ],
)
def test_replay_that_is_not_a_text_is_rejected_before_anything_runs(replay: Any, reported: str) -> None:
    model = fresh("gpt2")
    before = snapshot(model.backbone)
    with pytest.raises(mh.errors.ManyheadsError, match=reported):
        mh.train(model, DATA, "text", mh.Full(lm_weight=0.5, replay=replay))
    assert changed(model.backbone, before) == []


def test_replay_without_a_weight_is_rejected() -> None:
    with pytest.raises(mh.errors.MethodError, match="give it an lm_weight"):
        mh.Full(replay=["a text"])
