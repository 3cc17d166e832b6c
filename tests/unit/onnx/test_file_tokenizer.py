"""``tokenizer.json`` alone encodes as transformers' own tokenizer does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import manyheads as mh
from manyheads.data.texts.tokenize import tokenize
from manyheads.data.texts.words import find_words
from manyheads.export.onnx.tokenizer import write_tokenizer
from manyheads.onnx.layout import TOKENIZER_JSON, Layout
from manyheads.onnx.tokenizer import load_tokenizer
from tests.families import BY_NAME, TEXTS, tokenizer_for

EMITTED = frozenset({"input_ids", "token_type_ids"})
SINGLES = [*TEXTS, "", "naïve 日本 🙂", "a" * 300]
PAIRS = [(TEXTS[6], TEXTS[2]), (TEXTS[1], TEXTS[6]), ("", TEXTS[0]), (TEXTS[0], ""), ("", "")]


def loaded(folder: Path, tokenizer: Any, limit: int | None = 64) -> Any:
    """Write a tokenizer, and read it without transformers."""
    write_tokenizer(tokenizer, limit, folder)
    accepted = EMITTED & frozenset(tokenizer.model_input_names)
    start = next(found for found in (tokenizer.bos_token_id, tokenizer.eos_token_id, 0) if found is not None)
    pad = tokenizer.pad_token_id or 0
    return load_tokenizer(folder, Layout("Tiny", {}, (), accepted, limit, pad, start, "all rows", False, {}))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "gpt2", "qwen2", "llama", "t5"])
def test_ids_segments_words_and_truncation_are_those_of_transformers(family: str, side: str, tmp_path: Path) -> None:
    own = tokenizer_for(BY_NAME[family])
    own.truncation_side = side
    read = loaded(tmp_path, own)
    for texts in (SINGLES, PAIRS):
        for limit in (None, 4, 9, 16):
            words = [find_words(text, "punctuation") for text in texts] if texts is SINGLES else None
            expected = tokenize(own, texts, limit, EMITTED, words=words)
            found = tokenize(read, texts, limit, EMITTED, words=words)
            assert found.inputs == expected.inputs
            assert found.truncated.tolist() == expected.truncated.tolist()
            assert found.pad == expected.pad
            for one, other in zip(found.words or [], expected.words or [], strict=True):
                assert one.places.tolist() == other.places.tolist()
    assert read("a fever", add_special_tokens=False)["input_ids"] == own("a fever", add_special_tokens=False).input_ids


def test_settings_in_the_file_do_not_leak(tmp_path: Path) -> None:
    own = tokenizer_for(BY_NAME["bert"])
    expected = [list(ids) for ids in own(TEXTS)["input_ids"]]
    own.backend_tokenizer.enable_truncation(4)
    own.backend_tokenizer.enable_padding(length=20)
    own.backend_tokenizer.save(str(tmp_path / "as_it_is"))
    read = loaded(tmp_path, own)
    (tmp_path / "as_it_is").replace(tmp_path / TOKENIZER_JSON)
    as_it_is = load_tokenizer(tmp_path, Layout("Tiny", {}, (), EMITTED, 64, 0, 0, "all rows", False, {}))
    assert read(TEXTS)["input_ids"] == as_it_is(TEXTS)["input_ids"] == expected  # type: ignore[operator]
    assert own.backend_tokenizer.padding["length"] == 20, "the model's own tokenizer stays as it is"


def test_threads_that_truncate_and_threads_that_do_not_share_it(tmp_path: Path) -> None:
    read = loaded(tmp_path, tokenizer_for(BY_NAME["bert"]))
    whole, cut = read(TEXTS)["input_ids"], read(TEXTS, truncation=True, max_length=5)["input_ids"]

    def encode(number: int) -> bool:
        limit = {} if number % 2 else {"truncation": True, "max_length": 5}
        return bool(read(TEXTS, **limit)["input_ids"] == (whole if number % 2 else cut))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(encode, range(200)))


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / TOKENIZER_JSON).write_text("{}")
    with pytest.raises(mh.errors.CorruptCheckpointError, match=r"tokenizer\.json: tokenizers cannot read it"):
        load_tokenizer(tmp_path, Layout("Tiny", {}, (), EMITTED, 64, 0, 0, "all rows", False, {}))


def test_what_a_file_cannot_record_is_an_export_error(tmp_path: Path) -> None:
    own = tokenizer_for(BY_NAME["bert"])
    own.split_special_tokens = True
    with pytest.raises(mh.errors.ExportError, match="splits special tokens"):
        write_tokenizer(own, 64, tmp_path)
    with pytest.raises(mh.errors.ExportError, match="is not of the tokenizers library"):
        write_tokenizer(object(), 64, tmp_path)
