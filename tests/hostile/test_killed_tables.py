"""L22 and L30: a scoring that is killed at any file operation goes on, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def killed_scorings(folder: Path, rows: int, part_rows: int, kills: int = 0) -> list[dict[str, Any]]:
    """Return what became of scorings that were killed, see ``killed_tables``."""
    numbers = map(str, (rows, part_rows, kills))
    command = [sys.executable, "-W", "error", "-m", "tests.hostile.killed_tables", str(folder), *numbers]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"})
    found: list[dict[str, Any]] = json.loads((folder / "report.json").read_text())
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_scoring_killed_at_every_file_operation_ends_with_the_same_bytes(tmp_path: Path) -> None:
    found = killed_scorings(tmp_path, rows=40, part_rows=20)
    assert [one["output"] for one in found] == ["in.csv scored.parquet"]
    assert all(one["equal"] and one["rows"] and one["kills"] > 10 for one in found), found
