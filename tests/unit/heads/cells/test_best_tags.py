"""The best sequence of tags is the best of all valid ones, which are few enough to be tried."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from manyheads.heads.cells.best_tags import best_tags
from manyheads.heads.ragged import Ragged, offsets_of


def is_valid(tags: tuple[int, ...]) -> bool:
    """Return whether each I (2, 4, ...) follows the B before it in number, or itself."""
    pairs = zip((0, *tags), tags, strict=False)
    return all(tag == 0 or tag % 2 or before in (tag - 1, tag) for before, tag in pairs)


def best_of_all(scores: np.ndarray) -> list[int]:
    words, tags = scores.shape
    valid = [found for found in product(range(tags), repeat=words) if is_valid(found)]
    return list(max(valid, key=lambda found: sum(scores[word, tag] for word, tag in enumerate(found))))


@pytest.mark.parametrize("types", [1, 2])
def test_the_best_of_all_valid_sequences(types: int) -> None:
    draw = np.random.default_rng(types)
    lengths = draw.integers(0, 6, size=60)
    rows = [draw.normal(size=(length, 2 * types + 1)) for length in lengths]
    found = best_tags(Ragged(np.concatenate(rows), offsets_of(lengths)))
    assert [row.tolist() for row in found] == [best_of_all(row) if len(row) else [] for row in rows]


def test_valid_tags_are_kept() -> None:
    tags = [0, 1, 2, 2, 3, 0, 1, 1]
    assert best_tags(Ragged.single(np.eye(5)[tags])).values.tolist() == tags


def test_the_next_best_tag_where_the_best_one_cannot_stand() -> None:
    scores = np.log([[0.98, 0.01, 0.01], [0.05, 0.15, 0.8]])  # an I after O
    assert best_tags(Ragged.single(scores)).values.tolist() == [0, 1]
    # The first word is most probably of one type and the second of another: the larger product of both words wins.
    scores = np.log([[0.02, 0.5, 0.02, 0.44, 0.02], [0.02, 0.02, 0.2, 0.02, 0.74]])
    assert best_tags(Ragged.single(scores)).values.tolist() == [3, 4]


def test_nothing() -> None:
    assert len(best_tags(Ragged(np.empty((0, 3)), np.zeros(1, np.int64)))) == 0
    assert len(best_tags(Ragged(np.empty((0, 3)), np.zeros(3, np.int64))).values) == 0
