"""Backbones that mix rows with padding or with each other, or that change themselves while they run."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

import manyheads as mh
from manyheads.backbone import Backbone
from manyheads.backbone.stack.module_state import ModuleState
from tests.families import BY_NAME, TEXTS, perturb, save_family

_SMALL: dict[str, Any] = {"vocab_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0}
_BERT = {**_SMALL, "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 128}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 10,
}
_DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}

# Name -> (class, config class, config, how rows run together).
MODELS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "padding is masked": ("BertForMaskedLM", "BertConfig", _BERT, "AllRows"),
    "Fourier transform": ("FNetForMaskedLM", "FNetConfig", {**_BERT, "tpu_short_seq_length": 128}, "EqualLengths"),
    "convolution": ("ConvBertForMaskedLM", "ConvBertConfig", {**_BERT, "embedding_size": 32}, "EqualLengths"),
    "attention that switches": (
        "BigBirdForMaskedLM",
        "BigBirdConfig",
        {**_BERT, "block_size": 4, "num_random_blocks": 1},
        "EqualLengths",
    ),
    "rotary embeddings for long rows": (
        "Phi3ForCausalLM",
        "Phi3Config",
        {**_BERT, "rope_parameters": _LONGROPE, "original_max_position_embeddings": 10},
        "EqualLengthsAbove",
    ),
    "rotary embeddings that grow": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**_BERT, "rope_parameters": _DYNAMIC, "max_position_embeddings": 10},
        "EqualLengthsAbove",
    ),
}


def built(name: str) -> PreTrainedModel:
    model_class, config_class, config, _ = MODELS[name]
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(getattr(transformers, config_class)(**config))
    perturb(model)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(families_dir: Any) -> Any:
    folder = families_dir / "bert"
    folder = folder if folder.exists() else save_family(BY_NAME["bert"], folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


@pytest.mark.filterwarnings("ignore::manyheads.errors.BatchingWarning")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "method", [mh.Frozen(), mh.Fork(top=1, epochs=1), mh.Full(epochs=1)], ids=["frozen", "fork", "full"]
)
def test_a_row_gets_the_same_logits_alone_and_in_a_batch(name: str, method: mh.Method, tokenizer: Any) -> None:
    model = mh.HeadedModel.wrap(built(name), tokenizer)
    model.add_head("a", mh.Multiclass(labels=["x", "y"]))
    mh.train(
        model,
        [{"text": t, "a": "xy"[at % 2]} for at, t in enumerate(TEXTS)],
        text="text",
        method=method,
        eval_fraction=0,
    )
    together = model.predict(TEXTS).logits["a"]
    alone = np.concatenate([model.predict([text]).logits["a"] for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-4 * together.std() + 1e-5)
    with torch.no_grad():
        called = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits["a"]
        each = [model(**tokenizer([text], return_tensors="pt")).logits["a"] for text in TEXTS]
    np.testing.assert_allclose(called, torch.cat(each), atol=1e-4 * together.std() + 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_grouping_is_observed_and_told(name: str) -> None:
    backbone = Backbone(built(name))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert type(backbone.row_groups).__name__ == MODELS[name][3]
    told = [str(warning.message) for warning in caught if warning.category is mh.errors.BatchingWarning]
    assert len(told) == bool(backbone.row_groups_note)
    assert all(backbone.name in note and "\n" not in note for note in told)


@pytest.mark.filterwarnings("ignore::manyheads.errors.BatchingWarning")
@pytest.mark.parametrize("name", MODELS)
def test_the_language_model_is_what_it_was(name: str, tokenizer: Any) -> None:
    model = built(name)
    stock = copy.deepcopy(model)
    ids = torch.arange(5, 69).reshape(1, 64)
    with torch.no_grad():
        expected = stock(input_ids=ids).logits
        wrapped = mh.HeadedModel.wrap(model, tokenizer)
        wrapped.add_head("a", mh.Multiclass(labels=["x", "y"]))
        state = ModuleState(model)
        rows = [{"text": text, "a": "xy"[at % 2]} for at, text in enumerate(TEXTS)]
        mh.train(wrapped, rows, text="text", method=mh.Frozen(), eval_fraction=0)
        wrapped(**tokenizer(TEXTS, padding=True, return_tensors="pt"))
        wrapped.predict(TEXTS)
        assert not state.is_changed
        assert torch.equal(model(input_ids=ids).logits, expected)


def _wrapped_forward(kind: str, model: PreTrainedModel) -> PreTrainedModel:
    """Return a BERT whose states depend on other rows, on chance, or which cannot run."""
    stack = model.base_model
    forward = stack.forward

    def odd(input_ids: Tensor, attention_mask: Tensor | None = None, **settings: Any) -> Any:
        output = forward(input_ids, attention_mask, **settings)
        if kind == "other rows":
            output.last_hidden_state = output.last_hidden_state + output.last_hidden_state.std() * len(input_ids)
        elif kind == "chance":
            output.last_hidden_state = output.last_hidden_state + torch.rand(())
        elif kind == "padding raises" and attention_mask is not None and not attention_mask.all():
            raise IndexError("padding\nis not\nsupported")
        elif kind == "always raises":
            raise KeyError("a\nbox\nis missing")
        return output

    stack.forward = odd
    return model


@pytest.mark.filterwarnings("ignore::manyheads.errors.BatchingWarning")
@pytest.mark.parametrize(("kind", "grouping"), [("other rows", "SingleRows"), ("padding raises", "EqualLengths")])
def test_an_odd_backbone_runs_its_rows_apart(kind: str, grouping: str) -> None:
    assert type(Backbone(_wrapped_forward(kind, built("padding is masked"))).row_groups).__name__ == grouping


@pytest.mark.parametrize(("kind", "words"), [("chance", "different states"), ("always raises", "box")])
def test_a_backbone_that_cannot_be_read_is_one_line(kind: str, words: str) -> None:
    with pytest.raises(mh.errors.BackboneError, match=words) as caught:
        mh.HeadedModel.wrap(_wrapped_forward(kind, built("padding is masked"))).core.backbone.row_groups  # noqa: B018
    assert len(str(caught.value).splitlines()) == 1


class _Drifting(mh.Frozen):
    """Trains as usual, and changes what the model computes without touching a weight."""

    def fit(self, core: Any, heads: Any, data: Any) -> Any:
        outcome = super().fit(core, heads, data)
        core.backbone.model.cls.predictions.transform.transform_act_fn = torch.nn.Tanh()
        return outcome


@pytest.mark.parametrize(("method", "same"), [(mh.Frozen(), True), (_Drifting(), False)])
def test_the_check_of_the_language_model_sees_changed_layers(method: mh.Method, same: bool, tokenizer: Any) -> None:
    model = mh.HeadedModel.wrap(built("padding is masked"), tokenizer)
    model.add_head("a", mh.Multiclass(labels=["x", "y"]))
    rows = [{"text": text, "a": "xy"[at % 2]} for at, text in enumerate(TEXTS)]
    check = mh.train(model, rows, text="text", method=method, eval_fraction=0).lm_check
    assert check.bit_identical is same
    assert check.max_abs_diff == (0.0 if same else None)


HALF: dict[str, tuple[torch.dtype, bool]] = {
    "fp16 overflows": (torch.float16, False),
    "bf16 does not": (torch.bfloat16, True),
    "fp32 does not": (torch.float32, True),
}


@pytest.mark.parametrize("name", HALF)
def test_an_overflow_is_an_error_and_never_a_prediction(name: str, tokenizer: Any) -> None:
    dtype, finite = HALF[name]
    model = built("padding is masked")
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight.mul_(1e4)
        model.bert.encoder.layer[0].intermediate.dense.weight.mul_(50)
    headed = mh.HeadedModel.wrap(model.to(dtype), tokenizer)
    rows = [{"text": text, "a": "xy"[at % 2]} for at, text in enumerate(TEXTS)]

    def run() -> np.ndarray:
        headed.add_head("a", mh.Multiclass(labels=["x", "y"]))
        mh.train(headed, rows, text="text", eval_fraction=0)
        return headed.predict(TEXTS).logits["a"]

    if finite:
        assert np.isfinite(run()).all()
        return
    with pytest.raises(mh.errors.BackboneError, match=r"not finite in float16.*float32") as caught:
        run()
    assert len(str(caught.value).splitlines()) == 1
