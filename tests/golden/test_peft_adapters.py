"""Language models tuned with PEFT as backbones: logits equal to PEFT's own, heads trained, saved and loaded again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import manyheads as mh

peft = pytest.importorskip("peft")

Saved = Callable[[str], Path]
ROWS = [{"text": f"pain {row}", "urgency": ["low", "high"][row % 2]} for row in range(12)]
TEXTS = ["severe pain 3", "mild"]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def tuned(base: Path, **settings: Any) -> Any:
    """Return a language model with an adapter whose weights are not zero."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(
        r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM", lora_dropout=0.1, **settings
    )
    adapted = peft.get_peft_model(model, config)
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return adapted.eval()


@pytest.fixture(scope="module")
def adapter(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    tuned(saved("gpt2")).save_pretrained(folder)
    return folder


def lm_logits(model: Any, tokenizer: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(tokenizer(TEXTS[0], return_tensors="pt").input_ids).logits


def loaded(kind: str, adapter: Path, base: Path) -> mh.HeadedModel:
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    if kind == "its folder":
        return mh.HeadedModel.from_pretrained(adapter)
    if kind == "what transformers loads":
        return mh.HeadedModel.wrap(transformers.AutoModelForCausalLM.from_pretrained(adapter).eval(), tokenizer)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    return mh.HeadedModel.wrap(peft.PeftModel.from_pretrained(model, adapter).eval(), tokenizer)


@pytest.mark.parametrize("kind", ["its folder", "what transformers loads", "a PeftModel"])
def test_a_model_with_an_adapter_is_trained_saved_and_loaded(
    adapter: Path, saved: Saved, tmp_path: Path, kind: str
) -> None:
    base = transformers.AutoModelForCausalLM.from_pretrained(saved("gpt2"))
    model = loaded(kind, adapter, saved("gpt2"))
    expected = lm_logits(peft.PeftModel.from_pretrained(base, adapter).eval(), model.tokenizer)
    torch.testing.assert_close(lm_logits(model.backbone, model.tokenizer), expected, rtol=0, atol=1e-5)
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    result = mh.train(model, ROWS, "text", out=tmp_path / "out", eval_fraction=0)
    assert result.lm_check.bit_identical
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    difference = again.predict(TEXTS).logits["urgency"] - model.predict(TEXTS).logits["urgency"]
    assert abs(difference).max() < 1e-5
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(plain) is transformers.GPT2LMHeadModel
    torch.testing.assert_close(lm_logits(plain, model.tokenizer), expected, rtol=0, atol=1e-5)
    # The adapter is still in the model, and its folder is as it was.
    torch.testing.assert_close(lm_logits(model.backbone, model.tokenizer), expected, rtol=0, atol=1e-5)


def test_a_model_with_an_adapter_can_be_tuned_as_a_whole(adapter: Path, saved: Saved, tmp_path: Path) -> None:
    model = loaded("what transformers loads", adapter, saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    mh.train(model, ROWS, "text", mh.Full(epochs=1), out=tmp_path / "out", eval_fraction=0)
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    difference = again.predict(TEXTS).logits["urgency"] - model.predict(TEXTS).logits["urgency"]
    assert abs(difference).max() < 1e-4


@pytest.mark.parametrize("method", [mh.Fork(epochs=1), mh.LoRA(r=2, epochs=1)], ids=["Fork", "LoRA"])
def test_layers_with_an_adapter_are_not_copied(adapter: Path, saved: Saved, method: mh.Method) -> None:
    model = loaded("what transformers loads", adapter, saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    with pytest.raises(mh.errors.BackboneError, match=r"PEFT adapter.*merge_and_unload"):
        mh.train(model, ROWS, "text", method, eval_fraction=0)
    model = loaded("its folder", adapter, saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    mh.train(model, ROWS, "text", method, eval_fraction=0)


def prompt_tuned(base: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    return peft.get_peft_model(model, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))


CANNOT_BE_MERGED = {
    "prompt tuning": prompt_tuned,
    "a replaced module": lambda base: tuned(base, modules_to_save=["lm_head"]),
}


@pytest.mark.parametrize("case", CANNOT_BE_MERGED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adapter_that_cannot_be_merged_is_rejected_before_training(saved: Saved, case: str) -> None:
    with pytest.raises(mh.errors.BackboneError, match="cannot be merged") as caught:
        mh.HeadedModel.wrap(CANNOT_BE_MERGED[case](saved("gpt2")))
    assert "\n" not in str(caught.value)


BAD_FOLDERS = {
    "no base": ({"base_model_name_or_path": "/nowhere/base"}, mh.errors.UnknownBackboneError, "/nowhere/base"),
    "no name of a base": ({"base_model_name_or_path": None}, mh.errors.UnknownBackboneError, "names no base model"),
    "another type": ({"peft_type": "PROMPT_TUNING"}, mh.errors.BackboneError, "'PROMPT_TUNING'"),
    "a classifier": ({"task_type": "SEQ_CLS"}, mh.errors.BackboneError, "'SEQ_CLS'"),
    "other layers": ({"target_modules": ["nothing"]}, mh.errors.BackboneError, "does not fit GPT2LMHeadModel"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_adapter_folder_is_one_line(adapter: Path, tmp_path: Path, case: str) -> None:
    import json
    import shutil

    changes, error, words = BAD_FOLDERS[case]
    shutil.copytree(adapter, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(error, match=words) as caught:
        mh.HeadedModel.from_pretrained(tmp_path / "adapter")
    assert "\n" not in str(caught.value)
