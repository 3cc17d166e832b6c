"""L22 for the feature cache: whatever happens to its files, training goes on and ends alike."""

from __future__ import annotations

import errno
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

import manyheads as mh
from manyheads.errors import CacheError, CacheWarning
from manyheads.features import cache as caching
from manyheads.features.cache import FeatureCache, Store, open_cache
from manyheads.features.table import Piece
from tests.families import WORDS
from tests.laws.oracle import different_texts, rows_read

TEXTS = different_texts(12)
TABLE = [{"text": text, "label": f"secretlabel{row % 2}", "hours": row / 2} for row, text in enumerate(TEXTS)]
HEADS = {
    "label": mh.Multiclass(labels=["secretlabel0", "secretlabel1"], reads=mh.Hidden()),
    "hours": mh.Regression(reads=[mh.Hidden(-2, "cls"), mh.Hidden()]),
}
Trained = tuple[dict[str, Tensor], int]


@pytest.fixture
def train(saved: Callable[[str], Path]) -> Callable[..., Trained]:
    """Return a training from a fresh load: its weights, and how many rows were read."""

    def run(cache: str | Path | None = "auto", texts: int = len(TEXTS)) -> Trained:
        model = mh.HeadedModel.from_pretrained(saved("bert"))
        for name, spec in HEADS.items():
            model.add_head(name, spec)
        method = mh.Frozen(cache=cache, dtype="float32", l2=0.3, label_names=False)
        with rows_read(model.backbone) as rows:
            mh.train(model, TABLE[:texts], text="text", method=method, eval_fraction=0)
        return dict(model.heads.state_dict()), sum(rows)

    return run


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def small_store(folder: Path) -> tuple[Store, np.ndarray, Piece]:
    """Return a store, keys, and what belongs to them: three texts of two tokens each."""
    keys = np.array([bytes([row]) * 16 for row in (3, 1, 2)], dtype="S16")
    return FeatureCache(folder, 10**9).store({"of": "a test"}), keys, Piece(torch.arange(24.0).view(6, 4), spans(3))


def spans(texts: int) -> Tensor:
    return torch.arange(0, 2 * texts + 1, 2)


# --- damaged --------------------------------------------------------------------------------------


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    store, keys, piece = small_store(tmp_path)
    store.keep(keys, piece)
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    places = sorted({*range(0, 40), *random.Random(0).sample(range(len(whole)), 80)})
    damaged = [whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :] for place in places]
    for content in [*damaged, *(whole[:size] for size in (0, 7, 8, 100, len(whole) - 1)), b"[" * 999, whole + b"x"]:
        path.write_bytes(content)
        with pytest.warns(CacheWarning, match="damaged"):
            assert not list(store.find(keys))
        assert not path.exists()
    store.keep(keys, piece)
    (found,) = store.find(keys)
    assert torch.equal(found.piece.values, piece.values)
    assert torch.equal(found.piece.offsets, piece.offsets)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float64, torch.bool])
def test_a_file_of_somebody_elses_is_no_segment(tmp_path: Path, dtype: torch.dtype) -> None:
    store, keys, _ = small_store(tmp_path)
    store.keep(keys[:1], Piece(torch.zeros(1, 4)))
    for name, tensors in {
        "a": {},
        "b": {"keys": torch.zeros(()).to(dtype)},
        "c": {"keys": torch.zeros(3).to(dtype)},
    }.items():
        (store.folder / f"{name}.safetensors").write_bytes(save(tensors))
    with pytest.warns(CacheWarning, match="damaged"):
        (found,) = store.find(keys)
    assert found.requested.tolist() == [0]


def flip_last(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_stranger(path: Path) -> None:
    shutil.copy(next(other for other in segments(path.parents[1]) if other != path), path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip_last,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "another segment": put_stranger,
    "a folder": put_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_training_over_a_damaged_segment_ends_alike(
    train: Callable[..., Trained], own_cache: Path, damage: str
) -> None:
    expected, _ = train()
    DAMAGES[damage](segments(own_cache)[0])
    with pytest.warns(CacheWarning):
        found, rows = train()
    assert rows == len(TEXTS)
    assert_same(found, expected)
    if damage != "a folder":
        assert train()[1] == 0


def test_a_store_whose_description_is_damaged_still_serves(train: Callable[..., Trained], own_cache: Path) -> None:
    expected, _ = train()
    for path in own_cache.glob("*/store.json"):
        path.write_text("{")
    found, rows = train()
    assert rows == 0
    assert_same(found, expected)
    assert [entry.description for entry in FeatureCache(own_cache, 10**9).entries()] == [{}] * 2


def test_a_segment_that_is_gone_again_when_it_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, keys, piece = small_store(tmp_path)
    monkeypatch.setattr(FeatureCache, "shrink", lambda cache: cache.clear())
    assert store.keep(keys, piece) is piece
    assert not list(store.find(keys))


# --- a disk that takes no more --------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_changes_no_result(
    train: Callable[..., Trained], own_cache: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    expected, _ = train(cache=None)

    def reject(path: Path, content: str | bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(caching, "atomic_write", reject)
    with pytest.warns(CacheWarning, match="going on without"):
        found, rows = train()
    assert rows == len(TEXTS)
    assert_same(found, expected)
    assert segments(own_cache) == []


def test_a_cache_that_may_only_be_read_serves_all_the_same(
    train: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = train()

    def reject(*arguments: object, **settings: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", reject)
    monkeypatch.setattr(Path, "unlink", reject)
    found, rows = train()
    assert rows == 0
    assert_same(found, expected)


# --- where it lies, how large it is, what is in it ------------------------------------------------


def test_beyond_its_limit_the_oldest_go_and_training_is_right(
    train: Callable[..., Trained], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = train(cache=None)
    monkeypatch.setenv("MANYHEADS_CACHE_GB", "0")
    found, rows = train()
    assert rows == len(TEXTS)
    assert segments(own_cache) == []
    assert_same(found, expected)
    monkeypatch.setenv("MANYHEADS_CACHE_GB", "0.000003")  # one segment of twelve vectors, not two
    for _ in range(2):
        found, rows = train()
        assert rows == len(TEXTS)
        assert len(segments(own_cache)) == 1
        assert_same(found, expected)


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    store, _, _ = small_store(tmp_path)
    keys = [np.array([bytes([row]) * 16], dtype="S16") for row in range(1, 5)]
    for row, key in enumerate(keys):
        store.keep(key, Piece(torch.full((1, 8), float(row))))
        for path in segments(tmp_path):
            os.utime(path, (row, row)) if path.stat().st_mtime > 10 else None
    assert len(list(store.find(keys[0]))) == 1  # used now
    FeatureCache(tmp_path, 2 * segments(tmp_path)[0].stat().st_size).shrink()
    assert [len(list(store.find(key))) for key in keys] == [1, 0, 0, 1]


@pytest.mark.parametrize("value", ["much", "-1", "nan", "inf", "1e400", "1 GB"])
def test_a_limit_that_is_not_a_number_is_rejected(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MANYHEADS_CACHE_GB", value)
    with pytest.raises(CacheError, match="MANYHEADS_CACHE_GB"):
        open_cache("auto")
    assert open_cache(None) is None


def test_a_file_in_place_of_the_folder_is_rejected_before_any_pass(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("label", HEADS["label"])
    with rows_read(model.backbone) as rows, pytest.raises(CacheError, match="not a folder"):
        mh.train(model, TABLE, text="text", method=mh.Frozen(cache=tmp_path / "file"))
    assert rows == []


def test_a_folder_of_ones_own_choice(train: Callable[..., Trained], own_cache: Path, tmp_path: Path) -> None:
    assert [train(cache=tmp_path / "mine")[1], train(cache=str(tmp_path / "mine"))[1]] == [len(TEXTS), 0]
    assert not own_cache.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_nobody_else_may_look(train: Callable[..., Trained], own_cache: Path) -> None:
    train()
    assert own_cache.stat().st_mode & 0o777 == 0o700


def test_no_text_and_no_label_is_in_any_file(train: Callable[..., Trained], own_cache: Path) -> None:
    train()
    content = b"".join(path.read_bytes() for path in own_cache.rglob("*") if path.is_file())
    assert b"secretlabel" not in content
    assert not any(text.encode() in content for text in TEXTS if len(text) > 8)
    assert not any(word.encode() in content for word in WORDS if len(word) > 6)


def test_clearing_frees_what_entries_counted(train: Callable[..., Trained], own_cache: Path) -> None:
    train()
    cache = FeatureCache(own_cache, 10**9)
    size_bytes = sum(entry.size_bytes for entry in cache.entries())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.clear() == size_bytes > 0
    assert cache.entries() == []
    assert train()[1] == len(TEXTS)
