"""A pass in another precision: the loaded backbone keeps every bit, and predictions stay what they were, nearly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import manyheads as mh
from manyheads.backbone.backbone import Backbone
from manyheads.backbone.pooler import SeparatePooler
from manyheads.features import identity_of, precision
from manyheads.features.running_cores import RunningCores
from tests.families import BY_NAME, HIDDEN, tokenizer_for
from tests.hardware import ROUNDS_HALF_BY_BATCH
from tests.laws.oracle import changed, different_texts, rows_read, snapshot

Saved = Callable[[str], Path]
FAMILIES = ["bert", "gpt2", "t5"]
TEXTS = different_texts(30)
TABLE = [{"text": text, "label": "ab"[len(text) % 2], "hours": float(len(text))} for text in TEXTS]
HEADS = {
    "label": lambda: mh.Multiclass(labels=["a", "b"], reads=mh.Hidden()),
    "hours": lambda: mh.Regression(reads=[mh.Hidden(-2, "mean"), mh.Hidden()]),
}


def headed(folder: Path, dtype: torch.dtype | None = None) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(folder, dtype=dtype)
    for name, make in HEADS.items():
        model.add_head(name, make())
    return model


def with_pooler_beside() -> Backbone:
    """Return a BERT whose class leaves the pooler out that its file holds."""
    dense = nn.Linear(HIDDEN, HIDDEN)
    return Backbone(BY_NAME["bert"].build(), pooler=SeparatePooler(dense, nn.Tanh(), "bert.pooler"))


def backbone_of(family: str) -> Backbone:
    return with_pooler_beside() if family == "bert" else Backbone(BY_NAME[family].build())


def places(module: nn.Module) -> set[int]:
    return {tensor.data_ptr() for tensor in [*module.parameters(), *module.buffers()]}


def logits(model: mh.HeadedModel) -> torch.Tensor:
    ids = torch.tensor([[9, 20, 31, 42, 53, 12]])
    extra = {"decoder_input_ids": ids} if model.backbone.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.backbone(ids, **extra).logits


# --- the copy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_original_keeps_every_bit_and_the_copy_is_converted(family: str, dtype: torch.dtype) -> None:
    backbone = backbone_of(family)
    before, names = snapshot(backbone), list(dict(backbone.model.named_parameters()))
    copy = backbone.in_precision(dtype)
    assert changed(backbone, before) == []
    assert {parameter.dtype for parameter in copy.stack.parameters()} == {dtype}
    assert list(dict(copy.model.named_parameters())) == names
    with torch.no_grad():
        for parameter in copy.stack.parameters():
            parameter.zero_()
    assert changed(backbone, before) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_not_in_the_stack_is_shared(family: str) -> None:
    backbone = backbone_of(family)
    copy = backbone.in_precision(torch.bfloat16)
    inside = places(backbone.stack)
    outside = places(backbone.model) - inside
    assert outside or family == "gpt2"  # whose only weights beside the stack are tied to it
    assert outside <= places(copy.model)
    assert not {p.data_ptr() for p in backbone.stack.parameters()} & {p.data_ptr() for p in copy.model.parameters()}


def test_tied_weights_are_tied_in_the_copy() -> None:
    copy = Backbone(BY_NAME["gpt2"].build()).in_precision(torch.bfloat16).model
    assert copy.lm_head.weight is copy.transformer.wte.weight


def test_a_pooler_beside_is_converted_for_the_copy_alone() -> None:
    backbone = with_pooler_beside()
    copy = backbone.in_precision(torch.bfloat16)
    assert {p.dtype for p in copy.pooler.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in backbone.pooler.parameters()} == {torch.float32}
    assert copy.facts.pooler_width == HIDDEN


@pytest.mark.parametrize("family", FAMILIES)
def test_the_precision_it_has_already_costs_no_copy(family: str) -> None:
    backbone = backbone_of(family)
    assert backbone.in_precision(torch.float32) is backbone


# --- training -------------------------------------------------------------------------------------


# T5 overflows in fp16, as it is known to.
@pytest.mark.parametrize(
    ("family", "dtype"),
    [("bert", "bfloat16"), ("gpt2", torch.bfloat16), ("t5", "bfloat16"), ("bert", "float16"), ("gpt2", "float16")],
)
def test_training_in_half_precision_predicts_nearly_alike(saved: Saved, family: str, dtype: object) -> None:
    exact, half = headed(saved(family)), headed(saved(family))
    before, reported = snapshot(half.backbone), logits(half)
    mh.train(exact, TABLE, text="text", method=mh.Frozen(dtype="float32", l2=0.1), eval_fraction=0)
    result = mh.train(half, TABLE, text="text", method=mh.Frozen(dtype=dtype, l2=0.1), eval_fraction=0)
    assert result.lm_check.bit_identical
    assert changed(half.backbone, before) == []
    assert torch.equal(logits(half), reported)
    found, expected = half.predict(TEXTS), exact.predict(TEXTS)
    np.testing.assert_allclose(found.scores["label"], expected.scores["label"], atol=0.05)
    spread = np.std([row["hours"] for row in TABLE])
    np.testing.assert_allclose(found.values["hours"] / spread, expected.values["hours"] / spread, atol=0.1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("loaded", [None, torch.float16])
def test_prediction_runs_in_the_precision_of_training_and_evaluation(
    saved: Saved, tmp_path: Path, dtype: str, loaded: torch.dtype | None
) -> None:
    model = headed(saved("bert"), loaded)
    result = mh.train(model, TABLE, text="text", method=mh.Frozen(dtype=dtype, l2=1e-3), eval_data=TABLE[:20])
    model.save_pretrained(tmp_path / "model")
    for asked in (model, mh.HeadedModel.from_pretrained(tmp_path / "model", dtype=loaded)):
        hours = asked.predict(TEXTS[:20]).values["hours"]
        error = np.abs(hours - [row["hours"] for row in TABLE[:20]]).mean()
        tolerance = 0.05 if dtype != "float32" and ROUNDS_HALF_BY_BATCH else 1e-5
        np.testing.assert_allclose(error, result.metrics["hours"]["mean_absolute_error"], rtol=tolerance)
    assert model.heads["hours"].summary["precision"] == dtype


def test_auto_is_followed_where_the_hardware_is_as_fast(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    model = headed(saved("bert"))
    mh.train(model, TABLE, text="text", method=mh.Frozen(l2=1e-3), eval_fraction=0)
    fast = model.predict(TEXTS).values["hours"]
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: False)
    exact = model.predict(TEXTS).values["hours"]
    assert not np.array_equal(fast, exact)
    in_bf16 = mh.Frozen(l2=1e-3, dtype="bfloat16")
    mh.train(model, TABLE, text="text", method=in_bf16, eval_fraction=0)
    assert np.array_equal(model.predict(TEXTS).values["hours"], fast)


def test_a_backbone_loaded_in_another_precision_keeps_it(saved: Saved, tmp_path: Path) -> None:
    model = headed(saved("bert"))
    mh.train(model, TABLE, text="text", method=mh.Frozen(l2=1e-3), eval_fraction=0)
    model.save_pretrained(tmp_path / "model")
    half = mh.HeadedModel.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    assert prediction_precisions(half) == {torch.bfloat16}


def test_heads_trained_in_two_precisions_are_asked_in_two(saved: Saved) -> None:
    model = headed(saved("bert"))
    mh.train(model, TABLE, text="text", method=mh.Frozen(l2=1e-3, dtype="bfloat16"), heads=["hours"])
    mh.train(model, TABLE, text="text", method=mh.Frozen(l2=1e-3), heads=["label"])
    together, alone = model.predict(TEXTS), model.predict(TEXTS, heads=["hours"])
    assert np.array_equal(together.values["hours"], alone.values["hours"])
    assert prediction_precisions(model) == {torch.bfloat16, torch.float32}


def prediction_precisions(model: mh.HeadedModel) -> set[torch.dtype]:
    cores = RunningCores(model.core).groups(model.core.heads)
    return {next(core.backbone.stack.parameters()).dtype for core, _ in cores}


def test_each_precision_has_features_of_its_own(saved: Saved) -> None:
    counted = []
    for dtype in ("float32", "bfloat16", "float32", "bfloat16"):
        model = headed(saved("bert"))
        with rows_read(model.backbone) as rows:
            mh.train(model, TABLE, text="text", method=mh.Frozen(dtype=dtype, l2=0.1))
        counted.append(sum(rows))
    assert counted == [len(TEXTS), len(TEXTS), 0, 0]


def test_the_identity_reports_what_runs(saved: Saved) -> None:
    backbone = mh.HeadedModel.from_pretrained(saved("bert")).core.backbone
    digest = backbone.digest()
    one, other = identity_of(backbone, digest), identity_of(backbone.in_precision(torch.bfloat16), digest)
    assert {key for key in one if one[key] != other[key]} == {"precision"}
    assert (one["precision"], other["precision"]) == ("float32", "bfloat16")


@pytest.mark.parametrize("dtype", ["half", "int8", torch.int8, torch.float64, None, "", 16])
def test_an_unknown_precision_is_rejected(dtype: object) -> None:
    with pytest.raises(mh.errors.MethodError, match="dtype must be 'auto' or one of"):
        mh.Frozen(dtype=dtype)


# --- which one "auto" takes -----------------------------------------------------------------------


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return the precision in which a training's passes ran, on hardware that is reported to be fast in bf16 or not."""

    def of(model: mh.HeadedModel, fast: bool, dtype: str = "auto") -> str:
        monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: fast)
        ran: list[str] = []
        core = precision.feature_core
        monkeypatch.setattr(
            "manyheads.training.frozen.method.feature_core",
            lambda *given: [found := core(*given), ran.append(str(next(found.backbone.stack.parameters()).dtype))][0],
        )
        mh.train(model, TABLE, text="text", method=mh.Frozen(dtype=dtype, l2=0.1))
        return ran[-1].removeprefix("torch.")

    return of


@pytest.mark.parametrize(("fast", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_bf16_where_it_is_fast(saved: Saved, chosen: Callable[..., str], fast: bool, expected: str) -> None:
    assert chosen(headed(saved("bert")), fast) == expected


def test_auto_takes_fp32_where_the_two_disagree(
    saved: Saved, chosen: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_AGREES", 1.1)
    assert chosen(headed(saved("bert")), True) == "float32"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("fast", [True, False])
def test_a_precision_chosen_at_loading_stays(
    saved: Saved, chosen: Callable[..., str], dtype: torch.dtype, fast: bool
) -> None:
    model = headed(saved("bert"), dtype)
    assert chosen(model, fast) == str(dtype).removeprefix("torch.")
    assert {p.dtype for p in model.backbone.parameters()} == {dtype}


def test_a_precision_asked_for_in_training_goes_first(saved: Saved, chosen: Callable[..., str]) -> None:
    assert chosen(headed(saved("bert"), torch.bfloat16), False, "float32") == "float32"


def test_the_comparison_reads_eight_rows_twice_and_heads_without_a_pass_none(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    model = headed(saved("bert"))
    with rows_read(model.backbone) as rows:
        mh.train(model, TABLE, text="text", method=mh.Frozen(l2=0.1))
    assert sum(rows) == len(TEXTS) + 2 * 8
    alone = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    alone.add_head("label", mh.Multiclass(labels=["a", "b"], reads=mh.Lexical()))
    with rows_read(alone.backbone) as rows:
        mh.train(alone, TABLE, text="text", method=mh.Frozen(l2=0.1))
    assert rows == []


def test_what_is_kept_in_bf16_is_not_compared_again(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    mh.train(headed(saved("bert")), TABLE, text="text", method=mh.Frozen(l2=0.1))
    again = headed(saved("bert"))
    with rows_read(again.backbone) as rows:
        mh.train(again, TABLE, text="text", method=mh.Frozen(l2=0.1))
    assert rows == []
