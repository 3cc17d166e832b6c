"""Every snippet of README and docs/ runs, page by page and in order, on small tables and tiny checkpoints.

Python blocks of a page share their names. Shell blocks run their ``manyheads`` commands. A TOML block with a title is
written to that file and read as a run file. ``<!-- not run: why -->`` before a block leaves it out, for code that
belongs to another library or needs several processes.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from manyheads.cli.run_file.config import read_config
from tests.docs.commands import run_shell
from tests.docs.pages import PAGES, Block, blocks, name_of
from tests.docs.samples import write_tables

RUNNABLE = {"python", "sh", "toml"}
# Checkpoints by the names under which pages load them.
CHECKPOINTS = {"bert-base-german-cased": "bert", "path/to/triage-gpt2": "gpt2", "google-t5/t5-small": "t5"}
WITH_SNIPPETS = [page for page in PAGES if any(block.language in RUNNABLE for block in blocks(page))]


@pytest.fixture
def working_folder(tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables and checkpoints that pages name."""
    write_tables(tmp_path)
    for name, checkpoint in CHECKPOINTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(checkpoints / checkpoint)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def run_block(page: Path, block: Block, names: dict[str, object]) -> None:
    if block.language == "python":
        # Blank lines in front make tracebacks show the page's own line numbers.
        code = compile("\n" * (block.line - 1) + block.code, name_of(page), "exec")
        if block.runs:
            exec(code, names)
    elif block.language == "sh" and block.runs:
        run_shell(block.code)
    elif block.language == "toml" and block.title:
        Path(block.title).write_text(block.code, "utf-8")
        read_config(Path(block.title))


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=name_of)
def test_the_snippets_of_a_page_run(page: Path, working_folder: Path) -> None:
    names: dict[str, object] = {"__name__": "snippet"}
    for block in blocks(page):
        if block.language in RUNNABLE:
            run_block(page, block, names)
    assert Path.cwd() == working_folder


def test_commands_in_the_text_exist() -> None:
    from typer.main import get_command

    from manyheads.cli.app import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert set(re.findall(r"(?:`|^)manyheads ([a-z]\w+)", text, flags=re.MULTILINE)) <= known


def test_targets_of_make_exist() -> None:
    makefile = (PAGES[0].parent / "Makefile").read_text("utf-8")
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def lines_of(page: str, heading: str) -> list[str]:
    """Return the lines of the first snippet below a heading, up to the call that trains."""
    text = (PAGES[0].parent / page).read_text("utf-8")
    code = re.search(r"```python\n(.*?)mh\.train", text[text.index(f"## {heading}") :], flags=re.DOTALL)
    assert code is not None
    return [line for line in code[1].splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("heading", "most"), [("Two heads next to each other", 6), ("Classifiers beside a fine-tuned language model", 8)]
)
def test_a_story_fits_in_its_lines(heading: str, most: int) -> None:
    assert len(lines_of("README.md", heading)) + 1 <= most


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text("utf-8").splitlines()) <= 150
