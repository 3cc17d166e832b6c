"""An exported head gives the logits of the model wherever another library loads it, or an error names the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import manyheads as mh
from manyheads.export import EXPORTERS, Exported
from tests.docs.samples import save_bert_with_pooler
from tests.families import BY_NAME, FAMILIES, TEXTS, Family, tokenizer_for

LABELS = ["routine", "urgent", "emergency"]
TEMPERATURE = 1.7
# The heads of the table: each one's name, and what it reads of a family.
HEADS: dict[str, Callable[[Family], Any]] = {
    "own": lambda family: mh.Multiclass(labels=LABELS, reads=mh.Hidden(pool="last" if family.causal else "cls")),
    "middle": lambda family: mh.Multiclass(labels=LABELS, reads=mh.Hidden(-2, "last" if family.causal else "cls")),
    "mean": lambda _: mh.Multiclass(labels=LABELS, reads=mh.Hidden(pool="mean")),
    "tags": lambda _: mh.Tokens(labels=["noun", "verb"], scheme="plain", reads=mh.Hidden(), words="spaces"),
}
FINAL_NORM, NO_BIAS, DECODER = "its final norm follows them", "has a bias, and neither", "reads its decoder"
BERT_LIKE = {"mean": "reads pool='mean', and .* reads pool='cls'; train it with pool='cls'"}
GPT_LIKE = {"middle": FINAL_NORM, "mean": "reads pool='mean', and .* reads pool='last'; train it with pool='last'"}
LLAMA_LIKE = {"own": NO_BIAS, "middle": FINAL_NORM, "mean": "reads pool='last'; export it to sentence-transformers"}
ENCODER_DECODER = dict.fromkeys(("own", "middle", "mean"), DECODER)
NO_TOKEN_CLASS = {"tags": "no AutoModelForTokenClassification"}
# Family -> the heads that a stock class cannot express, each with its reason; all others are exported.
ERRORS: dict[str, Mapping[str, str]] = {
    "gpt2": GPT_LIKE,
    "gptj": {**GPT_LIKE, **NO_TOKEN_CLASS},
    "gpt_neox": GPT_LIKE,
    "opt": {**GPT_LIKE, **NO_TOKEN_CLASS},
    "bloom": GPT_LIKE,
    "llama": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "qwen2": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "gemma3": {**LLAMA_LIKE, **NO_TOKEN_CLASS},
    "mamba": {**dict.fromkeys(("own", "middle", "mean"), "no AutoModelForSequenceClassification"), **NO_TOKEN_CLASS},
    "modernbert": {
        "own": "transforms the pooled state first",
        "middle": FINAL_NORM,
        "mean": "reads pool='cls'; export it to sentence-transformers",
        "tags": "transforms states first",
    },
    "t5": ENCODER_DECODER,
    "bart": {**ENCODER_DECODER, **NO_TOKEN_CLASS},
}


def headed(family: Family, heads: Mapping[str, Any]) -> mh.HeadedModel:
    """Return a model with trained-looking heads, their temperatures away from 1."""
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    for name, spec in heads.items():
        usable(model.add_head(name, spec))
    return model


def usable(head: Any) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        head.output.weight.normal_(std=0.3)
        head.output.bias.normal_()
    if "temperature" in head.spec.decided_by:
        head.decision = mh.Decision(temperature=TEMPERATURE)
    head.trained = True


def exported(model: mh.HeadedModel, out: Path, to: str = "transformers") -> Exported:
    return EXPORTERS[to].export(model.core, model.tokenizer, {name: out / name for name in model.heads})


def fresh_logits(auto: Any, folder: Path) -> torch.Tensor:
    """Return the logits of the texts, from a model and a tokenizer that only the folder knows."""
    model, tokenizer = auto.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_head_is_exported_with_equal_logits_or_its_error_names_the_reason(family: Family, tmp_path: Path) -> None:
    model = headed(family, {name: spec(family) for name, spec in HEADS.items()})
    found = exported(model, tmp_path)
    reasons = ERRORS.get(family.name, BERT_LIKE)
    assert set(found.errors) == set(reasons)
    for name, words in reasons.items():
        assert re.match(rf"Head '{name}': .*{words}", found.errors[name]), found.errors[name]
        assert not (tmp_path / name).exists()
    predictions = model.predict(TEXTS)
    for name, folder in found.folders.items():
        auto = transformers.AutoModelForTokenClassification if name == "tags" else None
        logits = fresh_logits(auto or transformers.AutoModelForSequenceClassification, folder) * TEMPERATURE
        if name == "tags":
            first = word_starts(model.tokenizer)
            logits = torch.cat([logits[row, starts] for row, starts in enumerate(first)])
            expected = np.concatenate(list(predictions.logits[name]))
        else:
            expected = predictions.logits[name]
        np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5, err_msg=name)


def word_starts(tokenizer: Any) -> list[list[int]]:
    """Return the position of the first token of each word; words of the texts stand between spaces."""
    found = []
    for text in TEXTS:
        spans = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        spaces = [0, *(place + 1 for place, sign in enumerate(text) if sign == " ")]
        # Byte pairs count the space as their own: the token that holds the word's first character is its first.
        found.append([next(i for i, (start, end) in enumerate(spans) if start <= at < end) for at in spaces])
    return found


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> mh.HeadedModel:
    """A BERT with a pooler and a head of every kind that a pipeline knows."""
    model = mh.HeadedModel.from_pretrained(save_bert_with_pooler(tmp_path_factory.mktemp("bert") / "bert"))
    for name, spec in {
        "urgency": mh.Multiclass(labels=LABELS, reads=mh.Hidden(pool="pooler")),
        "numbers": mh.Multiclass(labels=[3, 1, 2], reads=mh.Hidden(pool="cls")),
        "symptoms": mh.MultiLabel(labels=["pain", "fever"], reads=mh.Hidden(layer=-3, pool="cls")),
        "age": mh.Regression(reads=mh.Hidden(pool="cls")),
        "tags": mh.Tokens(labels=["noun", "verb"], scheme="plain", reads=mh.Hidden()),
    }.items():
        usable(model.add_head(name, spec))
    model.heads["symptoms"].decision = mh.Decision(temperature=TEMPERATURE, thresholds=[0.3, 0.6])
    return model


@pytest.fixture(scope="module")
def folders(bert: mh.HeadedModel, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    found = exported(bert, tmp_path_factory.mktemp("exported"))
    assert not found.errors
    return found.folders


@pytest.mark.parametrize("name", ["urgency", "numbers", "symptoms"])
def test_a_pipeline_gives_our_probabilities(bert: mh.HeadedModel, folders: Mapping[str, Path], name: str) -> None:
    classify = transformers.pipeline("text-classification", model=str(folders[name]), top_k=None)
    labels = [str(label) for label in bert.heads[name].spec.labels]
    for found, own in zip(classify(TEXTS, batch_size=4), bert.predict(TEXTS).scores[name], strict=True):
        scores = {entry["label"]: entry["score"] for entry in found}
        assert scores == pytest.approx(dict(zip(labels, own, strict=True)), abs=1e-5)


def test_a_pipeline_gives_our_values(bert: mh.HeadedModel, folders: Mapping[str, Path]) -> None:
    classify = transformers.pipeline("text-classification", model=str(folders["age"]))
    values = [found["score"] for found in classify(TEXTS)]
    np.testing.assert_allclose(values, bert.predict(TEXTS).values["age"], atol=1e-5)


def test_a_pipeline_gives_our_words(bert: mh.HeadedModel, folders: Mapping[str, Path]) -> None:
    tag = transformers.pipeline("token-classification", model=str(folders["tags"]), ignore_labels=[])
    for found, row in zip(tag(TEXTS), bert.predict(TEXTS), strict=True):
        spans = row["tags"].spans
        assert [(entry["start"], entry["end"], entry["entity"]) for entry in found] == [
            (span.start, span.end, span.label) for span in spans
        ]
        assert [entry["score"] for entry in found] == pytest.approx([span.score for span in spans], abs=1e-5)


def test_thresholds_are_kept_beside_the_scores(folders: Mapping[str, Path]) -> None:
    config = transformers.AutoConfig.from_pretrained(folders["symptoms"])
    assert config.problem_type == "multi_label_classification"
    assert config.manyheads["thresholds"] == {"pain": 0.3, "fever": 0.6}
    assert config.num_hidden_layers == 1, "layer -3 of three blocks is the output of the first"
    assert "thresholds" in (folders["symptoms"] / "README.md").read_text("utf-8")


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_the_snippet_of_each_card_runs(folders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in folders.values():
        run_snippet(folder, monkeypatch)


def run_snippet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the code of a card in its own folder."""
    monkeypatch.chdir(folder)
    (snippet,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text("utf-8"), re.DOTALL)
    exec(compile(snippet, str(folder), "exec"), {})


def test_no_file_names_a_place_of_this_machine(bert: mh.HeadedModel, folders: Mapping[str, Path]) -> None:
    source = bert.core.backbone.source
    assert source is not None
    for folder in folders.values():
        for path in folder.iterdir():
            content = path.read_bytes()
            assert str(source.folder).encode() not in content, path
            assert str(folder.parent).encode() not in content, path


@pytest.mark.parametrize("name", ["urgency", "numbers", "symptoms", "age"])
def test_an_exported_head_comes_back_as_a_head(bert: mh.HeadedModel, folders: Mapping[str, Path], name: str) -> None:
    again = mh.HeadedModel.from_pretrained(folders[name])
    head = again.heads["classifier"]
    assert type(head.spec) is type(bert.heads[name].spec)
    expected = bert.predict(TEXTS).logits[name] / bert.heads[name].decision.temperature
    np.testing.assert_allclose(again.predict(TEXTS).logits["classifier"], expected, atol=1e-5)


def test_a_decoders_head_comes_back_too(tmp_path: Path) -> None:
    model = headed(BY_NAME["gpt2"], {"own": HEADS["own"](BY_NAME["gpt2"])})
    model.export_head("own", tmp_path / "own")
    again = mh.HeadedModel.from_pretrained(tmp_path / "own")
    expected = model.predict(TEXTS).logits["own"] / TEMPERATURE
    np.testing.assert_allclose(again.predict(TEXTS).logits["classifier"], expected, atol=1e-5)


@pytest.mark.parametrize(
    "method", [mh.Fork(top=1, epochs=1, frozen_share=0), mh.LoRA(r=2, epochs=1)], ids=["fork", "lora"]
)
def test_a_tuned_head_is_exported_with_its_own_weights(method: mh.Method, tmp_path: Path) -> None:
    model = headed(BY_NAME["bert"], {"other": HEADS["own"](BY_NAME["bert"])})
    model.add_head("own", HEADS["own"](BY_NAME["bert"]))
    rows = [{"text": text, "own": LABELS[row % 3]} for row, text in enumerate(TEXTS)]
    mh.train(model, rows, text="text", method=method, heads=["own"], eval_fraction=0)
    model.export_head("own", tmp_path / "own")
    logits = fresh_logits(transformers.AutoModelForSequenceClassification, tmp_path / "own")
    expected = model.predict(TEXTS).logits["own"] / model.heads["own"].decision.temperature
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)


def test_a_hidden_layer_with_gelu_fits_into_a_class_that_has_one(tmp_path: Path) -> None:
    spec = mh.Multiclass(labels=LABELS, reads=mh.Hidden(pool="cls"), hidden=[12])
    model = headed(BY_NAME["electra"], {"own": spec})
    model.export_head("own", tmp_path / "own")
    logits = fresh_logits(transformers.AutoModelForSequenceClassification, tmp_path / "own")
    np.testing.assert_allclose(logits.numpy() * TEMPERATURE, model.predict(TEXTS).logits["own"], atol=1e-5)


def test_a_head_of_pairs_reads_pairs(tmp_path: Path) -> None:
    model = headed(BY_NAME["bert"], {"own": HEADS["own"](BY_NAME["bert"])})
    model.heads["own"].summary["text"] = ["question", "answer"]
    model.export_head("own", tmp_path / "own")
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "own"), top_k=None)
    (own,) = model.predict([("mild cough", "fever since two days")])
    found = classify({"text": "mild cough", "text_pair": "fever since two days"})
    assert {entry["label"]: entry["score"] for entry in found} == pytest.approx(own["own"].scores, abs=1e-5)


def test_bfloat16_weights_are_exported_as_fp32_and_the_card_states_the_difference(tmp_path: Path) -> None:
    family = BY_NAME["bert"]
    model = mh.HeadedModel.wrap(family.build().to(torch.bfloat16), tokenizer_for(family))
    usable(model.add_head("own", HEADS["own"](family)))
    model.export_head("own", tmp_path / "own")
    assert transformers.AutoConfig.from_pretrained(tmp_path / "own").dtype == torch.float32
    in_fp32 = mh.HeadedModel.wrap(model.backbone.float(), model.tokenizer)
    usable(in_fp32.add_head("own", HEADS["own"](family)))
    logits = fresh_logits(transformers.AutoModelForSequenceClassification, tmp_path / "own")
    np.testing.assert_allclose(logits.numpy() * TEMPERATURE, in_fp32.predict(TEXTS).logits["own"], atol=1e-5)
    assert "Weights are fp32." in (tmp_path / "own" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["roberta", "albert"])
def test_a_head_on_the_pooler_takes_the_pooler_with_it(name: str, tmp_path: Path) -> None:
    """RoBERTa's class has no pooler but a layer like it, and ALBERT applies its tanh outside the pooler."""
    family = BY_NAME[name]
    backbone = family.build(model_class=family.pooler_class)
    model = mh.HeadedModel.wrap(backbone, tokenizer_for(family))
    usable(model.add_head("own", mh.Multiclass(labels=LABELS, reads=mh.Hidden(pool="pooler"))))
    model.export_head("own", tmp_path / "own")
    logits = fresh_logits(transformers.AutoModelForSequenceClassification, tmp_path / "own")
    np.testing.assert_allclose(logits.numpy() * TEMPERATURE, model.predict(TEXTS).logits["own"], atol=1e-5)


SENTENCE_HEADS: dict[str, tuple[str, Any]] = {
    "mean": ("bert", mh.Hidden(pool="mean")),
    "middle, unit length": ("roberta", mh.Hidden(layer=-2, pool="cls", normalize=True)),
    "max": ("modernbert", mh.Hidden(pool="max")),
    "last, without a bias in the final norm": ("llama", mh.Hidden(pool="last")),
    "encoder of an encoder-decoder": ("t5", mh.Hidden(pool="mean")),
}


@pytest.mark.parametrize("case", SENTENCE_HEADS)
def test_sentence_transformers_embeds_our_logits(case: str, tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    family, tap = SENTENCE_HEADS[case]
    hidden = {"hidden": [8]} if case == "mean" else {}
    model = headed(BY_NAME[family], {"own": mh.MultiLabel(labels=LABELS, reads=tap, **hidden)})
    model.export_head("own", tmp_path / "own", to="sentence-transformers")
    encoder = sentence_transformers.SentenceTransformer(str(tmp_path / "own"), device="cpu")
    embedded = encoder.encode(TEXTS, batch_size=5, show_progress_bar=False)
    np.testing.assert_allclose(embedded * TEMPERATURE, model.predict(TEXTS).logits["own"], atol=1e-5)
    scores = 1 / (1 + np.exp(-embedded))
    np.testing.assert_allclose(scores, model.predict(TEXTS).scores["own"], atol=1e-5)


def test_sentence_transformers_runs_the_pooler_as_a_layer(
    bert: mh.HeadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    bert.export_head("urgency", tmp_path / "own", to="sentence-transformers")
    encoder = sentence_transformers.SentenceTransformer(str(tmp_path / "own"), device="cpu")
    embedded = encoder.encode(TEXTS, show_progress_bar=False) * TEMPERATURE
    np.testing.assert_allclose(embedded, bert.predict(TEXTS).logits["urgency"], atol=1e-5)
    run_snippet(tmp_path / "own", monkeypatch)


def test_a_tokenizer_that_pads_on_the_left_is_exported_to_pad_on_the_right(tmp_path: Path) -> None:
    """GPT-2 numbers positions from the first column, so that its class would read shifted ones."""
    family = BY_NAME["gpt2"]
    model = headed(family, {"own": HEADS["own"](family)})
    model.tokenizer.padding_side = "left"
    model.export_head("own", tmp_path / "own")
    assert model.tokenizer.padding_side == "left", "the model's own tokenizer stays as it is"
    assert model.tokenizer.pad_token is None
    logits = fresh_logits(transformers.AutoModelForSequenceClassification, tmp_path / "own")
    np.testing.assert_allclose(logits.numpy() * TEMPERATURE, model.predict(TEXTS).logits["own"], atol=1e-5)


def test_a_tokenizer_without_a_limit_gets_that_of_the_backbone(tmp_path: Path) -> None:
    family = BY_NAME["bert"]
    model = headed(family, {"own": HEADS["own"](family)})
    model.tokenizer.model_max_length = 10**30
    model.export_head("own", tmp_path / "own")
    long = ["cough and fever " * 60]
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "own"), top_k=None)
    found = {entry["label"]: entry["score"] for entry in classify(long, truncation=True)[0]}
    assert found == pytest.approx(model.predict(long)[0]["own"].scores, abs=1e-5)


def test_lists_of_a_config_with_an_entry_per_block_are_cut_with_the_blocks(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.LongformerConfig(
        vocab_size=96, attention_window=[4, 8, 8], max_position_embeddings=66, pad_token_id=1, **sizes
    )
    tokenizer = tokenizer_for(BY_NAME["roberta"])
    model = mh.HeadedModel.wrap(transformers.LongformerForMaskedLM(config).eval(), tokenizer)
    usable(model.add_head("tags", mh.Tokens(["noun", "verb"], scheme="plain", reads=mh.Hidden(-2), words="spaces")))
    model.export_head("tags", tmp_path / "tags")
    assert transformers.AutoConfig.from_pretrained(tmp_path / "tags").attention_window == [4, 8]
    logits = fresh_logits(transformers.AutoModelForTokenClassification, tmp_path / "tags") * TEMPERATURE
    own = np.concatenate(list(model.predict(TEXTS).logits["tags"]))
    first = torch.cat([logits[row, starts] for row, starts in enumerate(word_starts(tokenizer))])
    np.testing.assert_allclose(first.numpy(), own, atol=1e-5)
