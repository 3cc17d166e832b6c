"""Checkpoints that all documentation tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.samples import save_checkpoints


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds ``gpt2``, ``bert`` and ``t5``. Tests must not write there."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_checkpoints(folder)
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The feature cache of all documentation tests: pages read the same texts, so later ones find them read."""
    return tmp_path_factory.mktemp("cache") / "features"


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the shared cache where other tests have one each."""
    monkeypatch.setenv("MANYHEADS_CACHE", str(shared_cache))
    monkeypatch.delenv("MANYHEADS_CACHE_GB", raising=False)
    return shared_cache
