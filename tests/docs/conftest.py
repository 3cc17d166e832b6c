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
