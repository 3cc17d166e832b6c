"""Every text architecture of transformers is right or one clear error; run by ``make test-architectures``."""

from __future__ import annotations

import pytest

from tests.real.architectures import architectures, isolated_trial, recorded

pytestmark = pytest.mark.architectures
RECORDED = recorded()


@pytest.mark.parametrize("architecture", architectures())
def test_an_architecture_is_right_or_one_line(architecture: str) -> None:
    outcome = isolated_trial(architecture)
    assert outcome.kind != "wrong", outcome.detail
    found = (outcome.kind, outcome.grouping)
    assert found == RECORDED.get(architecture, found), outcome.detail
