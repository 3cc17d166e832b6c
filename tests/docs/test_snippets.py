"""Every snippet of README and docs/ runs, page by page and in order, on small tables and tiny checkpoints.

Python blocks of a page share their names. Shell blocks run their ``manyheads`` commands. A TOML block with a title is
written to that file and read as a run file. ``<!-- not run: why -->`` before a block leaves it out, for code that
belongs to another library or needs several processes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manyheads.cli.run_file.config import read_config
from tests.docs.commands import run_shell
from tests.docs.pages import PAGES, Block, blocks, name_of
from tests.docs.samples import link_checkpoints, write_tables
from tests.hub_server import running_hub, use_hub

RUNNABLE = {"python", "sh", "toml"}
# A page about words that a tokenizer splits needs one that splits words.
FAMILIES_OF = {"docs/how-to/tokenizer.md": {"path/to/triage-gpt2": "qwen2"}}
WITH_SNIPPETS = [page for page in PAGES if any(block.language in RUNNABLE for block in blocks(page))]


@pytest.fixture
def trackers(page: Path, tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store of MLflow, and a hub on loopback for the page that pushes."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    if name_of(page) != "docs/how-to/saving.md":
        yield
        return
    with running_hub() as hub:
        use_hub(hub, tmp_path / "hub", monkeypatch)
        hub.add("lab/notes-gpt2", {path.name: path.read_bytes() for path in (checkpoints / "gpt2").iterdir()})
        yield


@pytest.fixture
def working_folder(
    page: Path, tmp_path: Path, checkpoints: Path, saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the tables and checkpoints that a page names."""
    write_tables(tmp_path)
    link_checkpoints(tmp_path, checkpoints)
    for name, family in FAMILIES_OF.get(name_of(page), {}).items():
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(saved(family))
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


@pytest.mark.usefixtures("trackers")
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub
@pytest.mark.filterwarnings("ignore:Operation with range is deprecated", "ignore:.*Any type hint")  # of MLflow
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
    assert set(re.findall(r"`manyheads ([a-z]\w+)", text)) <= known


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
