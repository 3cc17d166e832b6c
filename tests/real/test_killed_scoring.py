"""Tables of 64,000 rows whose scoring is killed ten times at random moments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hostile.test_killed_tables import killed_scorings

pytestmark = pytest.mark.real


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_scoring_killed_ten_times_ends_with_the_same_bytes(tmp_path: Path) -> None:
    found = killed_scorings(tmp_path, rows=64_000, part_rows=8192, kills=10)
    assert all(one["equal"] and one["rows"] and one["kills"] >= 5 for one in found), found
