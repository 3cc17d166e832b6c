"""Stock ...ForSequenceClassification checkpoints come in with their trained head, or are rejected by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import manyheads as mh
from manyheads import errors
from tests.families import BY_NAME, TEXTS, tokenizer_for

LABELS = {0: "routine", 1: "urgent", 2: "emergency"}
TAKEN = {
    "bert": "BertForSequenceClassification",
    "albert": "AlbertForSequenceClassification",
    "gpt2": "GPT2ForSequenceClassification",
    "gpt_neox": "GPTNeoXForSequenceClassification",
    "opt": "OPTForSequenceClassification",
    "bloom": "BloomForSequenceClassification",
    "llama": "LlamaForSequenceClassification",
    "mistral": "MistralForSequenceClassification",
    "qwen2": "Qwen2ForSequenceClassification",
    "qwen3": "Qwen3ForSequenceClassification",
    "gptj": "GPTJForSequenceClassification",
}
REJECTED = {
    "distilbert": "DistilBertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "electra": "ElectraForSequenceClassification",
    "deberta_v2": "DebertaV2ForSequenceClassification",
    "modernbert": "ModernBertForSequenceClassification",
    "bart": "BartForSequenceClassification",
}


def saved_classifier(name: str, model_class: str, folder: Path, **config: Any) -> Any:
    family = BY_NAME[name]
    model = family.build(model_class=model_class, **{"id2label": LABELS, **config})
    model.save_pretrained(folder)
    tokenizer_for(family).save_pretrained(folder)
    return model


def stock_logits(model: Any, tokenizer: Any, text: str) -> torch.Tensor:
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits


@pytest.mark.parametrize("name", TAKEN)
def test_a_linear_head_comes_in_with_its_weights_and_labels(name: str, tmp_path: Path) -> None:
    stock = saved_classifier(name, TAKEN[name], tmp_path / "stock")
    model = mh.HeadedModel.from_pretrained(tmp_path / "stock")
    assert model.heads["classifier"].trained
    assert model.heads["classifier"].spec.labels == tuple(LABELS.values())
    predictions = model.predict(TEXTS)
    for row, text in enumerate(TEXTS):
        expected = stock_logits(stock, model.tokenizer, text)[0]
        torch.testing.assert_close(torch.from_numpy(predictions.logits["classifier"][row]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", REJECTED)
def test_another_shape_of_head_is_rejected_by_name(name: str, tmp_path: Path) -> None:
    saved_classifier(name, REJECTED[name], tmp_path / "stock")
    with pytest.raises(errors.UnsupportedHeadError, match=REJECTED[name]):
        mh.HeadedModel.from_pretrained(tmp_path / "stock")


@pytest.mark.parametrize(
    ("problem", "labels", "kind"),
    [("regression", {0: "score"}, mh.Regression), ("multi_label_classification", LABELS, mh.MultiLabel)],
)
def test_the_problem_type_decides_the_kind(problem: str, labels: dict[int, str], kind: type, tmp_path: Path) -> None:
    saved_classifier("bert", TAKEN["bert"], tmp_path / "stock", problem_type=problem, id2label=labels)
    assert isinstance(mh.HeadedModel.from_pretrained(tmp_path / "stock").heads["classifier"].spec, kind)


def test_a_second_head_beside_it_is_saved_and_loaded_with_it(tmp_path: Path) -> None:
    saved_classifier("bert", TAKEN["bert"], tmp_path / "stock")
    model = mh.HeadedModel.from_pretrained(tmp_path / "stock")
    model.add_head("ward", mh.Multiclass(labels=[0, 1]))
    model.save_pretrained(tmp_path / "headed")
    again = mh.HeadedModel.from_pretrained(tmp_path / "headed")
    assert list(again.heads) == ["classifier", "ward"]
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "headed")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits["classifier"], plain(ids).logits, rtol=0, atol=1e-5)


def test_wrapping_the_object_takes_its_head_in_too() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(model_class=TAKEN["gpt2"], id2label=LABELS))
    assert list(model.heads) == ["classifier"]
