"""Saving never deletes what manyheads did not write, and a save that fails loses nothing."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import manyheads as mh
from manyheads.checkpoint import save, target
from manyheads.data.tables.writing import write_output
from manyheads.runtime import folders

Saved = Callable[[str], Path]
ROWS = [{"text": f"pain {row}", "urgency": ["low", "high"][row % 2]} for row in range(8)]


@pytest.fixture
def model(saved: Saved) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    return model


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rejected(act: Callable[[], object], *words: str) -> None:
    with pytest.raises(mh.errors.CheckpointError) as caught:
        act()
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


# Folders that are never replaced, with overwrite=True; each returns the folder to save to.
def a_strangers_folder(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    (place / "thesis").mkdir()
    (place / "thesis" / "chapter.txt").write_text("years of work")
    return place / "thesis"


def a_backbone(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(saved("bert"), place / "bert")
    return place / "bert"


def its_own_backbone(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    return saved("gpt2")


def a_folder_around_its_backbone(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    return saved("gpt2").parent


def the_working_folder(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    model.save_pretrained(place / "work")
    patch.chdir(place / "work")
    return Path(".")


def above_the_working_folder(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    model.save_pretrained(place / "work")
    (place / "work" / "inside").mkdir()
    patch.chdir(place / "work" / "inside")
    return Path("..")


def a_home(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    model.save_pretrained(place / "home")
    patch.setenv("HOME", str(place / "home"))
    return place / "home"


def a_link_to_a_strangers_folder(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    (place / "link").symlink_to(a_strangers_folder(place, saved, model, patch))
    return place / "link"


def a_file(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    (place / "out").write_text("a file")
    return place / "out"


def a_heads_json_of_something_else(place: Path, saved: Saved, model: mh.HeadedModel, patch: pytest.MonkeyPatch) -> Path:
    (place / "out").mkdir()
    (place / "out" / "heads.json").write_text('{"heads": ["hydra"]}')
    return place / "out"


NEVER_REPLACED = {
    a_strangers_folder: "'chapter.txt'",
    a_backbone: "not a saved model",
    its_own_backbone: "this run reads",
    a_folder_around_its_backbone: "this run reads",
    the_working_folder: "the working folder",
    above_the_working_folder: "the working folder",
    a_home: "the home folder",
    a_link_to_a_strangers_folder: "'chapter.txt'",
    a_file: "is not a folder",
    a_heads_json_of_something_else: "'heads.json'",
}


@pytest.mark.parametrize("case", NEVER_REPLACED, ids=lambda case: case.__name__)
def test_a_folder_that_is_not_a_saved_model_is_never_replaced(
    case: Callable[..., Path], model: mh.HeadedModel, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = case(tmp_path, saved, model, monkeypatch)
    before = contents(tmp_path)
    backbone = contents(saved("gpt2"))
    words = (NEVER_REPLACED[case], "choose another path")
    rejected(lambda: model.save_pretrained(out, overwrite=True), *words)
    rejected(lambda: model.save_head("urgency", out, overwrite=True), *words)
    model.heads["urgency"].trained = False
    rejected(lambda: mh.train(model, ROWS, "text", out=out, overwrite=True), *words)
    assert not model.heads["urgency"].trained, "it was trained before the folder was checked"
    assert contents(tmp_path) == before
    assert contents(saved("gpt2")) == backbone


@pytest.mark.parametrize("kind", ["reference", "head"])
def test_a_save_without_the_backbone_does_not_delete_the_backbone_it_needs(
    model: mh.HeadedModel, tmp_path: Path, kind: str
) -> None:
    model.save_pretrained(tmp_path / "out")
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "out")
    before = contents(tmp_path)
    if kind == "head":
        rejected(lambda: loaded.save_head("urgency", tmp_path / "out", overwrite=True), "files of this backbone")
    else:
        rejected(
            lambda: loaded.save_pretrained(tmp_path / "out", "reference", overwrite=True), "files of this backbone"
        )
    assert contents(tmp_path) == before


def test_a_table_in_the_output_folder_stays(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "out")
    table = tmp_path / "out" / "notes.csv"
    table.write_text("text,urgency\n" + "".join(f"{row['text']},{row['urgency']}\n" for row in ROWS))
    rejected(lambda: mh.train(model, table, "text", out=tmp_path / "out", overwrite=True), "notes.csv", "run reads")
    assert table.read_text().count("pain") == len(ROWS)


def test_other_files_and_folders_stay_when_a_saved_model_is_replaced(model: mh.HeadedModel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model.save_pretrained(out)
    (out / "notes" / "empty").mkdir(parents=True)
    (out / "notes" / "mine.txt").write_text("mine")
    (out / "README.md").write_text("edited")
    (out / "link").symlink_to(tmp_path)
    model.save_pretrained(out, overwrite=True)
    assert (out / "notes" / "mine.txt").read_text() == "mine"
    assert (out / "README.md").read_text() == "edited"
    assert (out / "notes" / "empty").is_dir()
    assert (out / "link").readlink() == tmp_path
    assert list(mh.HeadedModel.from_pretrained(out).heads) == ["urgency"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_has_the_name_of_a_new_one_is_not_replaced(
    model: mh.HeadedModel, saved: Saved, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mh.HeadedModel.from_pretrained(saved("bert")).save_pretrained(out)
    (out / "generation_config.json").write_text("mine")  # only the new model has one
    before = contents(tmp_path)
    rejected(lambda: model.save_pretrained(out, overwrite=True), "'generation_config.json'", "move it")
    assert contents(tmp_path) == before


def test_without_overwrite_the_error_tells_what_would_be_deleted(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "out")
    count = len(contents(tmp_path))
    rejected(lambda: model.save_pretrained(tmp_path / "out"), f"its {count} files", "overwrite=True", "--overwrite")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_all_files_have_the_mode_of_the_umask(model: mh.HeadedModel, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        mh.train(model, ROWS, "text", mh.LoRA(r=2, epochs=1), out=tmp_path / "out", eval_fraction=0)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "adapter_model.safetensors" in modes
    assert set(modes.values()) == {0o666 & ~umask}, modes


def save_often(source: Path, out: Path, seed: int) -> None:
    model = mh.HeadedModel.from_pretrained(source)
    model.add_head(f"head_{seed}", mh.Multiclass(labels=["low", "high"]))
    for _ in range(6):
        model.save_pretrained(out, overwrite=True)


def test_processes_that_save_to_one_folder_do_not_disturb_each_other_or_a_reader(saved: Saved, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mh.HeadedModel.from_pretrained(saved("gpt2")).save_pretrained(out)
    (out / "mine.txt").write_text("mine")
    context = multiprocessing.get_context("fork")
    savers = [context.Process(target=save_often, args=(saved("gpt2"), out, seed)) for seed in range(4)]
    for saver in savers:
        saver.start()
    while any(saver.is_alive() for saver in savers):
        assert len(mh.HeadedModel.from_pretrained(out).heads) <= 1
    for saver in savers:
        saver.join()
    assert [saver.exitcode for saver in savers] == [0, 0, 0, 0]
    assert len(mh.HeadedModel.from_pretrained(out).heads) == 1
    assert (out / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_replacement_with_the_same_inode_number_is_noticed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    reads = []

    def read() -> str:
        reads.append(len(reads))
        if len(reads) > 1:
            return "whole"
        out.rename(tmp_path / "old")  # the rename changes nothing but the time of the last change
        (tmp_path / "old").rename(out)
        raise ValueError("half of the old folder, half of the new one")

    assert folders.read_whole(out, lambda _: (), read) == "whole"


def test_the_temporary_folder_of_a_running_save_is_left_alone(model: mh.HeadedModel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with folders.atomic_folder(out, lambda: None, lambda _: ()) as running:
        (running / "half").write_text("half")
        model.save_pretrained(out)
        assert (running / "half").exists()
        shutil.rmtree(out)
    assert (out / "half").exists()


def test_a_disk_without_room_is_found_before_training(
    model: mh.HeadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(target.shutil, "disk_usage", lambda _: usage)
    rejected(lambda: mh.train(model, ROWS, "text", out=tmp_path / "out"), "needs 0 MB", "free some space")
    assert not model.heads["urgency"].trained
    rejected(lambda: model.save_pretrained(tmp_path / "out"), "free some space")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found_before_training(model: mh.HeadedModel, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    rejected(lambda: mh.train(model, ROWS, "text", out=tmp_path / "out"), "not a writable folder")


@pytest.mark.parametrize("method", [mh.Frozen(), mh.Full(epochs=1)], ids=["heads", "whole model"])
def test_trained_heads_are_kept_elsewhere_if_they_cannot_be_saved(
    model: mh.HeadedModel, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: mh.Method
) -> None:
    plain = save.write_heads

    def full_disk(folder: Path, *rest: object) -> None:
        if folder.parent == tmp_path / "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(folder, *rest)

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(save, "write_heads", full_disk)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    out = tmp_path / "full" / "out"
    rejected(lambda: mh.train(model, ROWS, "text", method, out=out), "No space left", "saved to", str(tmp_path / "tmp"))
    kept = next((tmp_path / "tmp").iterdir())
    if isinstance(method, mh.Frozen):
        other = mh.HeadedModel.from_pretrained(saved("gpt2"))
        other.load_head(kept)
    else:
        other = mh.HeadedModel.from_pretrained(kept)
    texts = [str(row["text"]) for row in ROWS]
    assert (other.predict(texts).logits["urgency"] == model.predict(texts).logits["urgency"]).all()
    assert not list((tmp_path / "full").iterdir())


def test_an_error_of_the_disk_is_one_line(
    model: mh.HeadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    rejected(lambda: model.save_pretrained(tmp_path / "out"), str(tmp_path / "out"), "Input/output error")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "manyheads", "cache", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "manyheads: standard output: No space left on device; write to another place\n"


def test_a_table_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(mh.errors.DataError, match=r"out\.csv: cannot be written: .*No space left.*; choose another"):
        write_output(pa.table({"a": [1]}), str(tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == []
