"""L22 for the feature cache: writers that are killed, and writers that write at once, leave whole segments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from manyheads.features.cache import FeatureCache
from manyheads.runtime.hashes import file_digest

ROOT = Path(__file__).parents[2]

WRITERS = """
import os, random, sys
from pathlib import Path
import numpy as np, torch
from manyheads.features.cache import FeatureCache
from manyheads.features.table import Piece

def write(folder, name, count, told):
    store = FeatureCache(folder, 10**9).store({"of": "a test"})
    for number in range(count):
        keys = np.array([b"%08d%08d" % (name, number)], dtype="S16")
        store.keep(keys, Piece(torch.full((1, 50_000), float(number))))
        os.write(told, b".")
    os._exit(0)

def begun(folder, name, count):
    told, tell = os.pipe()
    process = os.fork()
    if not process:
        write(folder, name, count, tell)
    return process, told

killed, crowded = Path(sys.argv[1]) / "killed", Path(sys.argv[1]) / "crowded"
draw = random.Random(0)
for name in range(8):
    process, told = begun(killed, name, 10**6)
    for _ in range(3):
        os.read(told, 1)
    for _ in range(draw.randrange(50_000)):  # some moment within one of the next writes
        pass
    os.kill(process, 9)
    os.waitpid(process, 0)
# Two of them write the very same.
writers = [begun(crowded, name, 30)[0] for name in (1, 1, 2)]
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in writers))
"""


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What writers leave after that were killed, and that wrote at once."""
    folder = tmp_path_factory.mktemp("written")
    subprocess.run([sys.executable, "-W", "error", "-c", WRITERS, str(folder)], check=True, cwd=ROOT, timeout=120)
    return folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_writer_killed_at_any_moment_leaves_whole_segments(written: Path) -> None:
    store = FeatureCache(written / "killed", 10**9).store({"of": "a test"})
    (store.folder / ".left.part").write_bytes(b"half")
    assert all(file_digest(path) == path.stem for path in segments(written / "killed"))
    keys = np.array([b"%08d%08d" % (name, number) for name in range(8) for number in range(3)], dtype="S16")
    found = {int(part.requested[0]): part.piece.values[part.places[0]] for part in store.find(keys)}
    assert sorted(found) == list(range(24))
    assert all(torch.equal(values, torch.full((50_000,), float(place % 3))) for place, values in found.items())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_processes_that_fill_one_cache_at_once_all_succeed(written: Path) -> None:
    cache = FeatureCache(written / "crowded", 10**9)
    assert len(segments(cache.folder)) == 60
    assert all(file_digest(path) == path.stem for path in segments(cache.folder))
    assert [entry.rows for entry in cache.entries()] == [60]
    assert not list(cache.folder.glob("*/*.part"))
