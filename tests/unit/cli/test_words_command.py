"""``manyheads words`` and ``train --add-words``, called as a person calls them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import manyheads as mh
from manyheads.cli.words import read_words
from tests.families import BY_NAME, TEXTS
from tests.unit.cli.test_app import Run, called
from tests.unit.cli.test_app import run as run  # a fixture
from tests.unit.data.vocabulary.test_added_tokens import word_pieces

NEW = ["metformin", "hyperkalemia"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["note", "urgency"])
        for row in range(48):
            writer.writerow([f"{TEXTS[row % len(TEXTS)]} {NEW[row % 2]} {row}", ("routine", "urgent")[row % 2]])
    return path


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    tokenizer = word_pieces()
    BY_NAME["bert"].build(vocab_size=len(tokenizer)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_words_are_shown_with_what_they_save(run: Run, notes: Path, backbone: Path) -> None:
    code, out, err = run("words", notes, "--text", "note", "--backbone", backbone, "--top", 2, "--min-count", 10)
    assert code == 0, err
    assert all(word in out for word in NEW)
    assert "tokens per text before" in out


def test_words_for_machines_are_what_python_says(run: Run, notes: Path, backbone: Path) -> None:
    code, out, err = run("words", notes, "-t", "note", "-b", backbone, "--min-count", 10, "--json")
    assert code == 0, err
    reported = json.loads(out)
    proposals = mh.propose_words(backbone, notes, text="note", min_count=10)
    assert [one["word"] for one in reported["words"]] == proposals.words
    assert reported["words"][0] == {
        "word": proposals[0].word,
        "count": proposals[0].count,
        "pieces": list(proposals[0].pieces),
        "saves": proposals[0].saves,
    }
    assert (reported["tokens_before"], reported["tokens_after"]) == (proposals.tokens_before, proposals.tokens_after)


def test_no_word_to_propose(run: Run, notes: Path, backbone: Path) -> None:
    code, out, _ = run("words", notes, "-t", "note", "-b", backbone, "--min-count", 1000)
    assert (code, out.strip()) == (0, "No frequent word would save a token.")


def test_no_weights_are_read(notes: Path, backbone: Path) -> None:
    (backbone / "model.safetensors").unlink()
    (backbone / "config.json").unlink()
    command = [sys.executable, "-m", "manyheads", "words", str(notes), "-t", "note", "-b", str(backbone)]
    assert "metformin" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_from_the_table_to_a_model_that_knows_the_words(
    run: Run, notes: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called("words", notes, "-t", "note", "-b", backbone, "--min-count", 10, "--top", 2, "-o", "new.txt") == 0
    assert set(read_words("new.txt")) == set(NEW)
    words = ("--add-words", "new.txt")
    code, _, err = run("train", notes, "-b", backbone, "-t", "note", "-H", "urgency", "-o", "model", *words)
    assert code == 0, err
    assert "2 words added" in err
    assert "2 tokens added" in err
    model = mh.HeadedModel.from_pretrained("model")
    assert model.add_tokens(NEW).known == tuple(NEW)
    assert model.predict([f"mild cough {word}" for word in NEW])[1]["urgency"].label == "urgent"
    # The same run once more, from anywhere, by the file that was saved with the model.
    assert str(tmp_path / "new.txt") in Path("model/run.toml").read_text("utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert called("train", "--config", tmp_path / "model" / "run.toml", "--out", "again") == 0
    again = Path("again/model.safetensors").read_bytes()
    assert again == (tmp_path / "model" / "model.safetensors").read_bytes()


def test_words_in_a_configuration_file(notes: Path, backbone: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "new.txt").write_text("\ufeffmetformin\n\n  hyperkalemia \n", "utf-8")
    reported = (
        f'data = "{notes}"\nbackbone = "{backbone}"\ntext = "note"\nadd_words = "lists/new.txt"\n[heads.urgency]\n'
    )
    (tmp_path / "run.toml").write_text(reported, "utf-8")
    assert called("train", "--config", tmp_path / "run.toml", "--out", tmp_path / "model") == 0
    assert mh.HeadedModel.from_pretrained(tmp_path / "model").add_tokens(NEW).words == ()


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (None, "cannot be read"),
        (b"", "contains no word"),
        (b" \n\n", "contains no word"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
    ids=["missing", "empty", "blank", "binary"],
)
def test_a_file_of_words_that_is_none(
    run: Run, notes: Path, backbone: Path, tmp_path: Path, content: bytes | None, reported: str
) -> None:
    if content is not None:
        (tmp_path / "new.txt").write_bytes(content)
    options = ("-t", "note", "-H", "urgency", "-o", tmp_path / "model", "--add-words", tmp_path / "new.txt")
    code, _, err = run("train", notes, "-b", backbone, *options)
    assert code == 1
    assert reported in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (("--top", "0"), "top must be a positive whole number"),
        (("--min-count", "-1"), "min_count must be a positive"),
        (("--out", "no/such/folder.txt"), "does not exist"),
        (("--out", "taken.txt"), "already exists"),
        (("--text", "nots"), "did you mean 'note'"),
        (("--backbone", "./nowhere"), "no such folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_bad_options(
    run: Run,
    notes: Path,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, str],
    reported: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.txt").write_text("mine")
    given = {"--text": "note", "--backbone": backbone} | dict([options])
    code, out, err = run("words", notes, *[part for pair in given.items() for part in pair])
    assert (code, out) == (1, "")
    assert reported in err
    assert len(err.strip().splitlines()) == 1
    assert Path("taken.txt").read_text() == "mine"


def test_a_folder_without_a_tokenizer(run: Run, notes: Path, saved: Callable[[str], Path], tmp_path: Path) -> None:
    BY_NAME["gpt2"].build().save_pretrained(tmp_path / "bare")
    code, _, err = run("words", notes, "-t", "note", "-b", tmp_path / "bare")
    assert code == 1
    assert "no tokenizer" in err
