"""Heads never run on another backbone, config or tokenizer than theirs without an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import manyheads as mh

Saved = Callable[[str], Path]
TEXTS = ["severe pain 3", "mild"]


@pytest.fixture
def source(saved: Saved, tmp_path: Path) -> Path:
    """A backbone whose files a test may change."""
    shutil.copytree(saved("bert"), tmp_path / "source")
    return tmp_path / "source"


def headed(source: Path) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(source)
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    model.heads["urgency"].trained = True
    return model


def change(path: Path, *keys: object, value: object) -> None:
    record = json.loads(path.read_text())
    inner = record
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(record))


def swapped_tokens(folder: Path) -> None:
    """Exchange the ids of two words."""
    record = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = record["model"]["vocab"]
    one, other = sorted(vocabulary)[-2:]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (folder / "tokenizer.json").write_text(json.dumps(record))


def normalizer(folder: Path) -> None:
    change(folder / "tokenizer.json", "normalizer", value={"type": "NFKC"})


def epsilon(folder: Path) -> None:
    change(folder / "config.json", "layer_norm_eps", value=0.1)


def activation(folder: Path) -> None:
    change(folder / "config.json", "hidden_act", value="relu")


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


CHANGES = {swapped_tokens: "tokenizer", normalizer: "tokenizer", epsilon: "config|files", activation: "config|files"}


@pytest.mark.parametrize("changed", CHANGES, ids=lambda changed: changed.__name__)
@pytest.mark.parametrize("kind", ["full", "reference", "head"])
def test_a_changed_tokenizer_or_config_is_an_error(
    source: Path, tmp_path: Path, kind: str, changed: Callable[[Path], None]
) -> None:
    model, out = headed(source), tmp_path / "out"
    if kind == "head":
        model.save_head("urgency", out)
    else:
        model.save_pretrained(out, backbone=kind)
    changed(out if kind == "full" else source)
    with pytest.raises(mh.errors.WrongBackboneError, match=CHANGES[changed]) as caught:
        mh.HeadedModel.from_pretrained(source).load_head(out) if kind == "head" else mh.HeadedModel.from_pretrained(out)
    assert "\n" not in str(caught.value)


def test_entries_that_do_not_affect_the_computation_may_change(source: Path, tmp_path: Path) -> None:
    model = headed(source)
    model.save_pretrained(tmp_path / "out", backbone="reference")
    for key, value in {"use_cache": False, "transformers_version": "1.0", "torch_dtype": "float16"}.items():
        change(source / "config.json", key, value=value)
    change(source / "tokenizer_config.json", "padding_side", value="left")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out", dtype="float32")
    assert (again.predict(TEXTS).logits["urgency"] == model.predict(TEXTS).logits["urgency"]).all()


def test_an_edited_heads_json_is_an_error(source: Path, tmp_path: Path) -> None:
    headed(source).save_pretrained(tmp_path / "out")
    change(tmp_path / "out" / "heads.json", "heads", "urgency", "spec", "labels", value=["high", "low"])
    with pytest.raises(mh.errors.CorruptCheckpointError, match=r"heads\.json: differs from its own checksum"):
        mh.HeadedModel.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"])
def test_a_truncated_file_of_the_backbone_is_one_line_that_names_it(source: Path, name: str) -> None:
    content = (source / name).read_bytes()
    (source / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(mh.errors.BackboneError) as caught:
        mh.HeadedModel.from_pretrained(source)
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value)


def test_a_tokenizer_that_was_changed_in_memory_is_saved_as_it_is(source: Path, tmp_path: Path) -> None:
    model = headed(source)
    model.tokenizer = type(model.tokenizer)(
        tokenizer_object=model.tokenizer.backend_tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    )
    model.tokenizer.add_tokens(["severe pain"])
    model.tokenizer.add_tokens(["[UNK]"], special_tokens=True)
    model.tokenizer.backend_tokenizer.normalizer = None
    texts = ["Mild", "MILD cough"]
    expected = model.predict(texts).logits["urgency"]
    with pytest.raises(mh.errors.CheckpointError, match="tokenizer is not the one of"):
        model.save_pretrained(tmp_path / "reference", backbone="reference")
    model.save_pretrained(tmp_path / "out")
    assert (mh.HeadedModel.from_pretrained(tmp_path / "out").predict(texts).logits["urgency"] == expected).all()
