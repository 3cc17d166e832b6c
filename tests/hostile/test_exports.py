"""An export is whole or absent, and never replaces what it did not write."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import manyheads as mh
from manyheads.checkpoint import target
from manyheads.export import EXPORTERS, sentence_transformers
from manyheads.export.folder import exported_files
from manyheads.export.stock import exporter
from manyheads.runtime import folders
from tests.families import BY_NAME, tokenizer_for


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    family = BY_NAME["bert"]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    for name in ("one", "two"):
        model.add_head(name, mh.Multiclass(labels=["low", "high"], reads=mh.Hidden(pool="cls"))).trained = True
    return model


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed(run: Callable[[], None]) -> bool:
    """Run in a process of its own and return whether SIGKILL ended it."""
    process = os.fork()
    if process == 0:
        try:
            run()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# Moments of an export: after the weights are written, when all is written, and amid the replacement.
MOMENTS = {"reload": (exporter, "reload"), "sync": (folders, "_sync_tree"), "replace": (folders, "_move_other_files")}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_export_leaves_the_old_one_or_the_new_one(model: mh.HeadedModel, tmp_path: Path, moment: str) -> None:
    out = tmp_path / "out"
    model.export_head("one", out)
    before = contents(out)

    def run() -> None:
        owner, name = MOMENTS[moment]
        setattr(owner, name, die)
        model.export_head("two", out, overwrite=True)

    assert killed(run)
    after = contents(out)
    assert after == before if moment != "replace" else b'"two"' in after["export.json"]
    model.export_head("two", out, overwrite=True)
    assert transformers.AutoConfig.from_pretrained(out).manyheads["head"] == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_first_export_that_is_killed_leaves_no_folder(model: mh.HeadedModel, tmp_path: Path) -> None:
    def run() -> None:
        folders._sync_tree = die
        model.export_head("one", tmp_path / "out")

    assert killed(run)
    assert not (tmp_path / "out").exists()


def test_only_an_export_is_replaced_and_only_if_asked(model: mh.HeadedModel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model.export_head("one", out)
    with pytest.raises(mh.errors.OutputExistsError, match=r"contains an export; .* overwrite=True"):
        model.export_head("two", out)
    (out / "notes.txt").write_text("mine")
    (out / "README.md").write_text("my own card")
    model.export_head("two", out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "README.md").read_text() == "my own card"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(mh.errors.OutputExistsError, match=r"is not an export and contains 'chapter\.txt'"):
        model.export_head("one", tmp_path / "thesis", overwrite=True)


def test_the_files_of_another_format_are_replaced_whole(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.export_head("one", tmp_path / "out", to="sentence-transformers")
    model.export_head("one", tmp_path / "out", overwrite=True)
    assert set(contents(tmp_path / "out")) == exported_files(tmp_path / "out")
    assert not (tmp_path / "out" / "modules.json").exists()


def test_the_backbones_own_folder_stays(saved: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(saved("bert"), tmp_path / "bert")
    model = mh.HeadedModel.from_pretrained(tmp_path / "bert")
    model.add_head("one", mh.Multiclass(labels=["low", "high"], reads=mh.Hidden(pool="cls"))).trained = True
    with pytest.raises(mh.errors.OutputExistsError, match="this run reads"):
        model.export_head("one", tmp_path / "bert", overwrite=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    model: mh.HeadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(mh.errors.OutputError, match=r"out: cannot be written: .*No space left.*free some space"):
            model.export_head("one", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(target.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(mh.errors.CheckpointError, match="needs 0 MB"):
        model.export_head("one", tmp_path / "out")


@pytest.mark.parametrize("to", [name for name, one in EXPORTERS.items() if not one.has_one_folder])
def test_files_that_give_other_logits_are_not_kept(
    model: mh.HeadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    module = {"transformers": exporter, "sentence-transformers": sentence_transformers}[to]
    whole = module.save

    def rounded(stock: torch.nn.Module, tokenizer: object, folder: Path) -> None:
        whole(stock.bfloat16(), tokenizer, folder)

    monkeypatch.setattr(module, "save", rounded)
    with pytest.raises(mh.errors.ExportError, match=r"Head 'one': the written files give logits that differ by"):
        model.export_head("one", tmp_path / "out", to=to)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_names_files_outside_owns_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('{"protocol": 1, "files": ["../other", "/etc/hosts", "config.json", 7]}')
    assert exported_files(tmp_path) == {"config.json"}
    (tmp_path / "export.json").write_text("{")
    assert exported_files(tmp_path) == frozenset()
