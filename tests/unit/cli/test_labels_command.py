"""``manyheads labels`` and ``manyheads evaluate --cross-validate``, called as a person calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from manyheads.data.tables.table import read_table
from tests.docs.samples import write_csv
from tests.families import TEXTS
from tests.unit.cli.test_app import called

Saved = Callable[[str], Path]


@pytest.fixture(scope="module")
def ads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "ads.csv"
    texts = [f"{('mild', 'severe')[row % 2]} {TEXTS[row % len(TEXTS)]} {row}" for row in range(40)]
    write_csv(path, {"ad": texts, "level": [("low", "high")[row % 2 ^ (row == 6)] for row in range(40)]})
    return path


def test_suspects_of_a_backbone_are_written_first(ads: Path, tmp_path: Path, saved: Saved) -> None:
    out = tmp_path / "suspects.csv"
    asked = ("labels", "suspect", saved("bert"), ads, "--text", "ad", "--head", "rank=level", "--folds", 3)
    assert called(*asked, "--out", out) == 0
    found = read_table(out)
    assert found.rows == 40
    assert found.columns == ("ad", "level", "rank_suggested", "rank_given_score")
    assert str(found.values("ad")[0]).endswith(" 6")
    assert called("train", out, "--backbone", saved("bert"), "-t", "ad", "-H", "level", "-o", tmp_path / "model") == 0
    assert called(*asked, "--out", out) == 1  # exists


def test_rows_to_label_next_are_without_a_label(
    ads: Path, tmp_path: Path, saved: Saved, capsys: pytest.CaptureFixture[str]
) -> None:
    model, new, out = tmp_path / "model", tmp_path / "new.csv", tmp_path / "next.csv"
    assert called("train", ads, "--backbone", saved("bert"), "-t", "ad", "-H", "level", "-o", model) == 0
    write_csv(new, {"ad": ["a cough", "a fever", "a rash", "some pain"], "level": ["low", "", "", ""]})
    capsys.readouterr()
    assert called("labels", "next", model, new, "-n", 2, "-o", out, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(set(rows)) == 2
    assert 0 not in rows
    found = read_table(out)
    assert found.columns == ("ad", "level")
    assert found.values("level") == [None, None]
    assert called("labels", "next", model, ads, "-n", 2, "-o", tmp_path / "all.csv") == 1
    assert "every row has a label" in capsys.readouterr().err
    assert not (tmp_path / "all.csv").exists()


def test_a_backbone_is_cross_validated(ads: Path, saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("evaluate", saved("bert"), ads, "--text", "ad", "--head", "rank=level")
    assert called(*asked, "--cross-validate", "--folds", 2, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["heads"]["rank"]["rows"] == 40
    assert "2 folds" in report["procedure"]
    assert called(*asked, "--folds", 2) == 1
    assert "--folds needs --cross-validate" in capsys.readouterr().err
    assert called("evaluate", saved("bert"), ads, "--text", "ad", "--cross-validate") == 1
    assert "--head" in capsys.readouterr().err
