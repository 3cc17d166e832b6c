"""The example scripts in notebooks/ run from top to bottom."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.samples import link_checkpoints, write_tables


@pytest.mark.parametrize("script", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_the_script_runs(script: Path, tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tables(tmp_path)
    link_checkpoints(tmp_path, checkpoints)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
