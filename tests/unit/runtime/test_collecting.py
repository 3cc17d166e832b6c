"""The collector is paused, and then as it was, whatever happens meanwhile."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from manyheads.runtime.collecting import collect_all, collect_and_freeze, uncollected_imports


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


class Cycle:
    """An object that only the collector frees."""

    def __init__(self) -> None:
        self.own = self


def test_garbage_among_frozen_objects_is_collected_and_the_others_are_frozen_again() -> None:
    old, kept = Cycle(), Cycle()
    freed = weakref.ref(old)
    collect_and_freeze()
    frozen = gc.get_freeze_count()
    del old
    gc.collect()
    assert freed() is not None
    collect_all()
    assert freed() is None
    assert kept.own is kept
    assert gc.get_freeze_count() > frozen / 2


def test_nothing_is_frozen_where_nothing_was() -> None:
    gc.unfreeze()
    collect_all()
    assert gc.get_freeze_count() == 0
