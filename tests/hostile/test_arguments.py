"""Wrong arguments and unusual states of a model: right, or one line that names the argument."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import manyheads as mh

Saved = Callable[[str], Path]
WORDS = ["mild", "bad"] * 6
ROWS = [{"text": f"{word} pain {row}", "urgency": ["low", "high"][row % 2]} for row, word in enumerate(WORDS)]
TEXTS = ["mild pain 3", "bad"]


@pytest.fixture
def model(saved: Saved) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    return model


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a negative seed": ({"seed": -1}, "seed must be .*got -1"),
    "a seed in quotes": ({"seed": "x"}, "seed must be .*got 'x'"),
    "a truth for a seed": ({"seed": True}, "seed must be .*got True"),
    "a huge seed": ({"seed": 2**40}, "seed must be"),
    "a misspelled method": ({"method": "frozn"}, "method must be .*'frozen'.*did you mean 'frozen'"),
    "a number for a method": ({"method": 3}, "method must be .*got 3"),
    "another class for a method": ({"method": dict}, "method must be .*dict"),
    "half a token": ({"max_length": 3.5}, "max_length must be a whole number.*3.5"),
    "a truth for a length": ({"max_length": True}, "max_length must be a whole number.*True"),
    "no tokens": ({"max_length": 0}, "max_length must lie between 1 and"),
    "a fraction in quotes": ({"eval_fraction": "x"}, "eval_fraction must be .*'x'"),
    "a truth for a fraction": ({"eval_fraction": True}, "eval_fraction must be .*True"),
    "a head that is a string": ({"heads": "urgency"}, "heads takes a list"),
    "a number for heads": ({"heads": 5}, "heads takes a list .*5"),
    "another way with long texts": ({"long_text": "x"}, "long_text must be"),
    "no text column": ({"text": None}, "text must be .*None"),
    "a number for the text column": ({"text": 5}, "text must be .*5"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_of_train_is_one_line(model: mh.HeadedModel, case: str) -> None:
    arguments, message = WRONG[case]
    with pytest.raises(mh.ManyheadsError, match=message) as caught:
        mh.train(model, ROWS, **{"text": "text", "eval_fraction": 0, **arguments})
    assert "\n" not in str(caught.value)
    assert not model.heads["urgency"].trained


@pytest.mark.parametrize("method", ["frozen", "Fork", "lora", "full", "auto", mh.Frozen, mh.Fork, mh.Auto], ids=str)
def test_a_method_may_be_named_or_given_as_a_class(model: mh.HeadedModel, method: Any) -> None:
    mh.train(model, ROWS, "text", method, eval_fraction=0)
    assert model.heads["urgency"].trained


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("method", [mh.Frozen(), mh.Full(epochs=1), mh.Fork(epochs=1)], ids=["Frozen", "Full", "Fork"])
def test_training_works_where_gradients_are_off(model: mh.HeadedModel, context: Any, method: mh.Method) -> None:
    with context():
        mh.train(model, ROWS, "text", method, eval_fraction=0)
    assert model.heads["urgency"].trained


def cast(name: str) -> Callable[[mh.HeadedModel], object]:
    return lambda model: getattr(model, name)()


CASTS = {"half": 3e-2, "bfloat16": 3e-1, "double": 1e-5, "float": 0.0}


@pytest.mark.parametrize("name", CASTS)
def test_a_cast_model_predicts_and_is_saved(model: mh.HeadedModel, tmp_path: Path, name: str) -> None:
    mh.train(model, ROWS, "text", eval_fraction=0)
    before = model.predict(TEXTS).logits["urgency"]
    cast(name)(model)
    assert {parameter.dtype for parameter in model.heads.parameters()} == {torch.float32}
    after = model.predict(TEXTS).logits["urgency"]
    assert abs(after - before).max() <= CASTS[name] * max(1, abs(before).max())
    model.save_pretrained(tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    assert again.backbone.dtype == model.backbone.dtype
    assert (again.predict(TEXTS).logits["urgency"] == after).all()


def test_a_model_on_the_meta_device_is_one_line(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.heads["urgency"].trained = True
    model.to("meta")
    for act in (
        lambda: model.predict(TEXTS),
        lambda: mh.train(model, ROWS, "text"),
        lambda: model.save_pretrained(tmp_path / "out"),
    ):
        with pytest.raises(mh.errors.BackboneError, match=r"meta device.*load it again"):
            act()


@pytest.mark.parametrize("inputs", [(), (None,), ([[1, 2]],), ("text",)], ids=str)
def test_a_forward_without_a_tensor_says_what_to_call(model: mh.HeadedModel, inputs: tuple[Any, ...]) -> None:
    with pytest.raises(mh.errors.InputError, match=r"input_ids must be a tensor.*model\.predict"):
        model(*inputs)


def test_pickling_names_save_pretrained(model: mh.HeadedModel) -> None:
    for act in (lambda: pickle.dumps(model), lambda: torch.save(model, io.BytesIO())):
        with pytest.raises(mh.errors.CheckpointError, match=r"save_pretrained\(folder\).*from_pretrained"):
            act()
    model.heads["urgency"].trained = True
    copied = copy.deepcopy(model)
    assert copied.backbone is not model.backbone
    assert (copied.predict(TEXTS).logits["urgency"] == model.predict(TEXTS).logits["urgency"]).all()


@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
def test_a_label_that_is_half_a_surrogate_pair_is_one_line() -> None:
    with pytest.raises(mh.errors.HeadError, match="half a surrogate pair"):
        mh.Multiclass(labels=["x\ud800", "y"])
    with pytest.raises(mh.ManyheadsError, match="half a surrogate pair"):
        mh.infer_heads([{"a": "x\ud800"}, {"a": "y"}], ["a"])
