"""Fixtures that every test may use: the tiny families, saved once per session, when first asked for."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import transformers

from manyheads.features import precision
from tests.families import BY_NAME, save_family

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)  # on tensors this small, threads only wait for each other (20 times slower)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a feature cache of its own, so that no test reads what another computed."""
    folder = tmp_path_factory.mktemp("cache") / "features"
    monkeypatch.setenv("MANYHEADS_CACHE", str(folder))
    monkeypatch.delenv("MANYHEADS_CACHE_GB", raising=False)
    return folder


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every pass in the loaded precision, whatever this machine is fast in: laws are checked in fp32."""
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: False)


@pytest.fixture
def ctrl_c_works() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, also in a run in the background, which starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def families_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds one saved checkpoint per family that was asked for."""
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="session")
def saved(families_dir: Path) -> Callable[[str], Path]:
    """Return where a family is saved: ``saved("gpt2")``. Tests must not write there."""

    def folder_of(name: str) -> Path:
        folder = families_dir / name
        return folder if folder.exists() else save_family(BY_NAME[name], folder)

    return folder_of
