"""The collector is paused, and then as it was, whatever happens meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from manyheads.runtime.collecting import uncollected_imports


def interrupted_import() -> None:
    with uncollected_imports():
        assert not gc.isenabled()
        raise ImportError("meanwhile")


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_the_collector_is_paused_and_then_collects_again() -> None:
    with pytest.raises(ImportError, match="meanwhile"):
        interrupted_import()
    assert gc.isenabled()


def test_what_exists_by_then_is_left_out_of_later_collections() -> None:
    with uncollected_imports():
        made = [[] for _ in range(1000)]
    assert gc.get_freeze_count() > len(made)


def test_a_disabled_collector_stays_disabled() -> None:
    gc.disable()
    try:
        with uncollected_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
