"""Every Python block of the README runs, in order, on tables and backbones made here."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import manyheads as mh
from tests.families import BY_NAME, TEXTS, Family, tokenizer_for
from tests.unit.test_cli import called

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SECTIONS = re.split(r"^## ", README, flags=re.MULTILINE)
STORIES = {
    "Two heads next to each other": "two heads",
    "Classifiers beside a fine-tuned language model": "beside an LM",
    "Labels for words": "words",
    "One pass, ever": "one pass",
    "What the language model knows already": "lm heads",
    "Tuning more than the heads": "tuning",
    "Words that the tokenizer shatters": "words",
    "Encoder-decoders": "encoder-decoder",
}


def blocks(title: str) -> list[str]:
    section = next(part for part in SECTIONS if part.startswith(title))
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)


def write(path: Path, columns: dict[str, list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def save_with_pooler(family: Family, folder: Path) -> None:
    """Save what bert-base-german-cased is: a file that holds a pooler, whose config names a class without one."""
    family.build(model_class="BertForPreTraining").save_pretrained(folder)
    tokenizer_for(family).save_pretrained(folder)
    config = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(config.replace("BertForPreTraining", "BertForMaskedLM"), "utf-8")


@pytest.fixture
def place(tmp_path: Path, saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables and backbones that the snippets name."""
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS]
    rows = range(len(texts))
    write(
        tmp_path / "ads.csv",
        {
            "ad": texts,
            "job_type": [("full time", "part time", "")[row % 3] for row in rows],
            "education": [("school", "degree")[row % 2] for row in rows],
        },
    )
    write(
        tmp_path / "notes.csv",
        {
            "note": texts,
            "urgency": [("routine", "urgent", "emergency")[row % 3] for row in rows],
            "wait": [row % 7 + 0.5 for row in rows],
        },
    )
    (tmp_path / "path/to").mkdir(parents=True)
    for name in ("gpt2", "t5"):
        (tmp_path / "path/to" / name).symlink_to(saved(name))
    save_with_pooler(BY_NAME["bert"], tmp_path / "path/to/bert")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("title", STORIES, ids=STORIES.values())
def test_the_readmes_snippets_run(title: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"mh": mh}
    for block in blocks(title):
        exec(compile(block, f"README.md: {title}", "exec"), names)
    assert capsys.readouterr().out


def test_the_readmes_configuration_runs(place: Path) -> None:
    (file,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (place / "ads.toml").write_text(file, "utf-8")
    commands = re.findall(r"^manyheads (train --config .*)$", README, flags=re.MULTILINE)
    for command in commands:
        assert called(*shlex.split(command, comments=True)) == 0
    first, again = ((place / folder / "heads.safetensors").read_bytes() for folder in ("tuned-model", "again"))
    assert first == again
    assert len(commands) == 2


def test_the_commands_of_the_readme_exist() -> None:
    from typer.main import get_command

    from manyheads.cli.app import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    shown = set(re.findall(r"manyheads (train|predict|evaluate|serve|inspect|export|cache|words|demo)\b", README))
    assert shown <= known


@pytest.mark.parametrize(("title", "most"), [("Two heads next to each other", 6), ("Classifiers beside", 8)])
def test_a_story_fits_in_its_lines(title: str, most: int) -> None:
    lines = [line for line in blocks(title)[0].split("mh.train")[0].splitlines() if line.strip()]
    assert len(lines) + 1 <= most
