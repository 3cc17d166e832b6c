"""HeadedModel's own small promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import manyheads as mh
from manyheads import errors
from manyheads.backbone.limits import token_limit
from tests.families import BY_NAME, tokenizer_for

Saved = Callable[[str], Path]


def test_a_head_meets_the_same_weights_without_their_files(saved: Saved, tmp_path: Path) -> None:
    loaded = mh.HeadedModel.from_pretrained(saved("gpt2"))
    head = loaded.add_head("urgency", mh.Multiclass(labels=["a", "b"]))
    loaded.save_head("urgency", tmp_path / "head")
    plain = transformers.AutoModelForCausalLM.from_pretrained(saved("gpt2"))
    wrapped = mh.HeadedModel.wrap(plain, tokenizer_for(BY_NAME["gpt2"]))
    assert torch.equal(wrapped.load_head(tmp_path / "head").output.weight, head.output.weight)
    with torch.no_grad():
        plain.get_input_embeddings().weight[0, 0] += 1e-3
    with pytest.raises(errors.WrongBackboneError, match="urgency"):
        wrapped.load_head(tmp_path / "head", name="again")


def test_a_tuned_backbone_is_written_anew_and_its_configs_kept(saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    with torch.no_grad():
        model.backbone.get_input_embeddings().weight.mul_(1.5)
    ids = torch.tensor([[5, 6, 7]])
    model.save_pretrained(tmp_path / "out")
    for name in ("config.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (saved("gpt2") / name).read_bytes()
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(again(ids).logits, model.backbone(ids).logits)
    with pytest.raises(errors.CheckpointError, match="changed since"):
        model.save_pretrained(tmp_path / "reference", backbone="reference")


def test_padding_without_a_mask_is_warned_of(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    pad = model.tokenizer.pad_token_id
    with pytest.warns(errors.InputWarning, match="attention_mask"):
        model(torch.tensor([[5, 6, pad]]))


@pytest.mark.parametrize("name", ["gpt2", "roberta", "opt", "bart"])
def test_a_row_beyond_the_position_table_is_rejected_and_one_that_fills_it_is_not(saved: Saved, name: str) -> None:
    model = mh.HeadedModel.from_pretrained(saved(name))
    model.add_head("x", mh.Regression())
    limit = token_limit(model.backbone, None)
    assert limit is not None
    model(torch.full((1, limit), 7))
    with pytest.raises(errors.InputError, match=f"the limit is {limit}"):
        model(torch.full((1, limit + 1), 7))


def test_class_weights_may_be_named() -> None:
    assert mh.Multiclass(labels=["b", "a"], class_weights={"a": 1.0, "b": 2.0}).class_weights == (2.0, 1.0)
    with pytest.raises(errors.HeadError, match="'c'"):
        mh.Multiclass(labels=["b", "a"], class_weights={"a": 1.0, "c": 2.0})


def test_a_bf16_backbone_feeds_fp32_heads(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("llama"), dtype=torch.bfloat16)
    model.add_head("pooled", mh.Multiclass(labels=["a", "b"], reads=[mh.Hidden(pool="max"), mh.Hidden(pool="mean")]))
    model.add_head("attended", mh.Regression(reads=mh.Hidden(pool="attention"), hidden=[4]))
    labels = {"pooled": torch.tensor([0, 1]), "attended": torch.tensor([0.5, 1.5])}
    out = model(torch.tensor([[5, 6, 7], [8, 9, 10]]), labels=labels)
    assert {values.dtype for values in out.logits.values()} == {torch.float32}
    out.loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_training_again_from_the_same_seed_gives_the_same_bits(saved: Saved) -> None:
    rows = [{"t": f"pain {n}", "x": n % 3 + 0.5, "y": ["a", "b"][n % 2]} for n in range(40)]
    weights = []
    for _ in range(2):
        model = mh.HeadedModel.from_pretrained(saved("bert"))
        model.add_head("x", mh.Regression(hidden=[4], dropout=0.2))
        model.add_head("y", mh.Multiclass(labels=["a", "b"]))
        mh.train(model, rows, text="t", seed=3)
        weights.append(torch.cat([p.flatten() for head in model.heads.values() for p in head.parameters()]))
    assert torch.equal(weights[0], weights[1])
