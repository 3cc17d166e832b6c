"""A head that a format cannot express is an error in one line: whose, why, and what can be done instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import processors

import manyheads as mh
from manyheads.export import EXPORTERS
from tests.families import BY_NAME, tokenizer_for

CLS = mh.Hidden(pool="cls")
YES_NO = ["yes", "no"]
# Head -> what is said of it by the format that knows best; and the next step.
ERRORS: dict[str, tuple[Any, str, str]] = {
    "two_taps": (mh.Multiclass(YES_NO, reads=[CLS, mh.Hidden(pool="mean")]), "room for one input", "one tap"),
    "lexical": (mh.Multiclass(YES_NO, reads=mh.Lexical()), "computed from the text's tokens", "Hidden()"),
    "prompted": (mh.Multiclass(YES_NO, reads=mh.Hidden(prompt="{text} ?")), "inside the prompt", "without prompt="),
    "stacked": (mh.Multiclass(YES_NO, reads=mh.Output("first")), "scores of the head 'first'", "only the backbone"),
    "lm_logits": (mh.Multiclass(YES_NO, reads=mh.LMLogits()), "logits of the language model", "Hidden()"),
    "mixed": (mh.Multiclass(YES_NO, reads=mh.Hidden(layer="mix", pool="cls")), "learned weights", "fixed pooling"),
    "attentive": (mh.Multiclass(YES_NO, reads=mh.Hidden(pool="attention")), "learned weights", "fixed pooling"),
    "ordered": (mh.Ordinal(["low", "mid", "high"], reads=CLS), "no formula for Ordinal", "model.predict"),
    "counted": (mh.Count(reads=CLS), "no formula for Count", "model.predict"),
    "deep": (mh.Multiclass(YES_NO, reads=CLS, hidden=[8, 8]), "hidden layers of [8, 8]", "hidden=[]"),
    "unit": (
        mh.Multiclass(YES_NO, reads=mh.Hidden(pool="cls", normalize=True)),
        "unit length",
        "sentence-transformers",
    ),
    "same_text": (mh.Multiclass([1, "1"], reads=CLS), "not all different as text", "rename"),
    "mean_words": (mh.Tokens(["drug"], subword="mean", reads=mh.Hidden()), "every token", "subword='first'"),
    "neighbors": (mh.Tokens(["drug"], window=1, reads=mh.Hidden()), "words beside each word", "window=0"),
}


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    family = BY_NAME["bert"]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    model.add_head("first", mh.Multiclass(YES_NO, reads=CLS)).trained = True
    for name, (spec, _, _) in ERRORS.items():
        model.add_head(name, spec).trained = True
    return model


@pytest.mark.parametrize("name", ERRORS)
def test_the_reason_names_the_head_the_rule_and_the_next_step(model: mh.HeadedModel, name: str, tmp_path: Path) -> None:
    _, rule, step = ERRORS[name]
    with pytest.raises(mh.errors.ExportError) as caught:
        model.export_head(name, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"Head '{name}': ")
    assert "\n" not in message
    assert rule in message
    assert step in message
    assert list(tmp_path.iterdir()) == [], "nothing is written of a head with an error"


def test_an_untrained_head_is_an_error(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.heads["first"].trained = False
    try:
        with pytest.raises(mh.errors.ExportError, match=r"is not trained.*train it first"):
            model.export_head("first", tmp_path / "out")
    finally:
        model.heads["first"].trained = True


@pytest.mark.parametrize("to", EXPORTERS)
def test_a_model_without_tokenizer_is_an_error(to: str, tmp_path: Path) -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build())
    model.add_head("first", mh.Multiclass(YES_NO, reads=CLS)).trained = True
    with pytest.raises(mh.errors.ExportError, match="no tokenizer to export"):
        model.export_head("first", tmp_path / "out", to=to)


def test_sentence_transformers_needs_a_pooling_that_it_has(tmp_path: Path) -> None:
    family = BY_NAME["bert"]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    model.add_head("tags", mh.Tokens(["drug"], reads=mh.Hidden())).trained = True
    with pytest.raises(mh.errors.ExportError, match=r"labels words.*export it to transformers"):
        model.export_head("tags", tmp_path / "out", to="sentence-transformers")


def test_a_class_with_an_activation_has_room_for_half_as_many_labels_as_features(tmp_path: Path) -> None:
    family = BY_NAME["electra"]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    for count in (16, 17):
        model.add_head(f"of_{count}", mh.Multiclass(range(count), reads=CLS)).trained = True
    model.export_head("of_16", tmp_path / "of_16")
    with pytest.raises(mh.errors.ExportError, match=r"has 17 outputs.*room for 16; export it to sentence-transformers"):
        model.export_head("of_17", tmp_path / "of_17")


def test_whatever_a_stock_class_raises_is_an_error_of_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel\nfor this")

    family = BY_NAME["bert"]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    model.add_head("first", mh.Multiclass(YES_NO, reads=CLS)).trained = True
    monkeypatch.setattr(transformers.BertForSequenceClassification, "forward", broken)
    with pytest.raises(mh.errors.ExportError, match=r"Head 'first': .* raises an error: no kernel for this; use the"):
        model.export_head("first", tmp_path / "out")


def test_unknown_names_are_errors(model: mh.HeadedModel, tmp_path: Path) -> None:
    with pytest.raises(mh.errors.UnknownHeadError, match="frist"):
        model.export_head("frist", tmp_path / "out")
    with pytest.raises(mh.errors.ConfigError, match=r"'transformer' is not among .* did you mean 'transformers'"):
        model.export_head("first", tmp_path / "out", to="transformer")


def test_a_tokenizer_that_ends_texts_with_its_padding_token_needs_another_one(tmp_path: Path) -> None:
    """The class reads the last token that is not padding, which would be the token before."""
    tokenizer = tokenizer_for(BY_NAME["gpt2"])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    model = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer)
    model.add_head("own", mh.Multiclass(YES_NO, reads=mh.Hidden(pool="last"))).trained = True
    with pytest.raises(mh.errors.ExportError, match=r"ends texts with its padding token.*set another tokenizer"):
        model.export_head("own", tmp_path / "out")
    model.tokenizer.pad_token = "<unk>"
    model.export_head("own", tmp_path / "out")
    exported = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert exported.config.pad_token_id == 1
