"""The page of a report: whole, safe, small, readable without colors and without a mouse."""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import manyheads as mh
from manyheads.cli.app import app
from manyheads.errors import DataError, OutputExistsError
from manyheads.evaluation.baselines import TrainingRows
from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.page import html_page
from manyheads.evaluation.page.clean import clean
from manyheads.evaluation.report import EvaluatedTable, build_report
from manyheads.heads.targets import RowTargets
from manyheads.types import MISSING
from tests.browser import CHROMIUM
from tests.unit.evaluation.browser import measured_in_browser
from tests.unit.evaluation.page_samples import HEADS, SUSPECTS, hostile_model, hostile_report, rows

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Saved = Callable[[str], Path]
VOID = {"meta", "wbr", "br", "img", "link", "input", "hr"}
TITLES = {
    "Metrics",
    "Which labels are confused",
    "Labels",
    "Predicted and true numbers",
    "Precision and recall",
    "Do scores mean what they say?",
    "From scores to answers",
    "Slices",
    "Most confident mistakes",
    "Suspect labels",
    "What it reads",
    "How it was trained",
    "Evaluated data",
    "Language model",
    "Model",
}


class Page(HTMLParser):
    """All tags of a page with their attributes and text; fails where one is closed that was not opened last."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.children: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.children.append((self._open[-1] if self._open else "", tag))
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data.strip())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def model(saved: Saved) -> mh.HeadedModel:
    return hostile_model(saved("gpt2"))


@pytest.fixture(scope="module")
def report(model: mh.HeadedModel) -> mh.Report:
    return hostile_report(model)


@pytest.fixture(scope="module")
def html(report: mh.Report) -> str:
    return html_page(report, SUSPECTS)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_section_is_there_and_every_head(page: Page, report: mh.Report) -> None:
    assert set(page.texts["h3"]) - {""} == TITLES | {"Largest errors"}
    assert {"Overview", "Data and model"} <= set(page.texts["h2"])
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {f"head-{place + 1}" for place in range(len(HEADS))} <= anchors


def test_nothing_runs_and_nothing_is_fetched(page: Page, html: str) -> None:
    assert not page.all("script")
    assert not page.all("img")
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in {"src", "srcset", "data"}], tag
        assert (attributes.get("href") or "#").startswith("#")
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|http", style)


def test_texts_of_users_are_shown_as_they_are_and_do_no_harm(html: str, page: Page) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert" in html
    assert "{{ 7 * 7 }}" in html
    assert not re.search("[\x00\x07\x1b\ud800-\udfff\u202e\u2066]", html)
    assert "שלום עולם" in html
    assert "🩺🚑" in html
    html.encode("utf-8")


def test_characters_that_a_page_cannot_hold_are_marked() -> None:
    assert clean("a\x00b\ud800c\u202ed\ne") == "a\ufffdb\ufffdc\ufffdd\ne"


def test_what_a_screen_reader_needs(page: Page, html: str) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for attributes in page.all("a") if attributes["href"]} <= set(ids)
    assert len(page.all("svg")) == page.children.count(("svg", "title")) == page.children.count(("svg", "desc")) > 30
    assert all(attributes.get("role") == "img" for attributes in page.all("svg"))
    assert all(page.texts["title"])
    assert all(page.texts["desc"])
    assert len(page.all("table")) == page.children.count(("table", "caption")) > 10
    assert all(attributes.get("scope") in {"row", "col"} for attributes in page.all("th"))
    assert html.index('class="skip"') < html.index("<header>")


def test_numbers_are_those_of_the_report(page: Page, html: str, report: mh.Report) -> None:
    for name, head in report.heads.items():
        assert name in page.texts["bdi"]
        assert f"{head.metrics[head.main_metric]:.3f}" in html
        assert head.verdict.replace("'", "&#39;") in html
    assert f"{report.joint.value:.1%}" in html if report.joint else True


def test_sections_without_content_are_left_out(report: mh.Report) -> None:
    alone = replace(report, heads={"size": report.heads["size"]}, joint=None, made=None)
    titles = set(Page(html_page(alone)).texts["h3"]) - {""}
    assert titles == {"Metrics", "Predicted and true numbers", "Slices", "Largest errors", "Evaluated data"}


@pytest.mark.parametrize("count", [1, 2])
def test_metrics_that_are_undefined_are_no_error(model: mh.HeadedModel, count: int) -> None:
    few = Page(html_page(mh.evaluate(model, rows()[:count], "note")))
    assert few.children.count(("svg", "title")) == len(few.all("svg")) > 10
    for tag, attributes in few.tags:
        for name in ("x", "y", "cx", "cy", "width", "height", "points", "x1", "y2"):
            assert not re.search("nan|inf", attributes.get(name) or ""), (tag, attributes)


def test_ten_thousand_rows_are_less_than_two_megabytes() -> None:
    random, count, labels = np.random.default_rng(0), 10_000, [f"label number {place}" for place in range(150)]
    texts = [f"{row} " + "quite a long text " * (60 if row % 50 == 0 else 1) for row in range(count)]
    classes = random.integers(0, 150, count)
    classes[2000:] = MISSING
    sizes = random.normal(size=count).astype(np.float32)
    spec, number = mh.Multiclass(labels), mh.Regression()
    kinds = {
        "topic": EvaluatedRows(
            spec, np.arange(count), texts, RowTargets(classes), random.normal(size=(count, 150)).astype(np.float32)
        ),
        "size": EvaluatedRows(
            number, np.arange(count), texts, RowTargets(sizes), (sizes + 1)[:, None].astype(np.float32)
        ),
    }
    few = np.arange(300)
    train = {name: TrainingRows(texts, one.targets, None).take(few) for name, one in kinds.items()}
    columns = {"shop": [f"shop {row % 9}" for row in range(count)]}
    report = build_report(EvaluatedTable("table", "Random.", texts, {}, columns), kinds, train)
    assert len(html_page(report).encode()) < 2_000_000


def _themes() -> Iterator[tuple[str, dict[str, str]]]:
    style = (resources.files("manyheads.evaluation.page") / "templates/style.css").read_text("utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    for name, block in zip(("light", "dark"), blocks, strict=True):
        yield name, dict(re.findall(r"--(\w+): (#\w{6});", block))


def _luminance(color: str) -> float:
    parts = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(first: str, second: str) -> float:
    low, high = sorted([_luminance(first), _luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "colors"), list(_themes()), ids=["light", "dark"])
def test_colors_have_the_contrast_of_wcag_aa(theme: str, colors: dict[str, str]) -> None:
    for text in ("ink", "muted", "blue", "orange", "green"):
        for ground in ("paper", "wash"):
            assert _contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    assert _contrast(colors["ink"], colors["heat"]) >= 4.5
    assert _contrast(colors["muted"], colors["band"]) >= 3


def test_a_page_is_written_whole_and_replaces_nothing_unasked(report: mh.Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    report.to_html(path)
    assert path.read_text("utf-8") == html_page(report)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputExistsError, match="already exists"):
        report.to_html(path)
    report.to_html(path, SUSPECTS, overwrite=True)
    assert "Suspect labels" in path.read_text("utf-8")
    with pytest.raises(DataError, match="does not exist"):
        report.to_html(tmp_path / "missing" / "report.html")
    with pytest.raises(OutputExistsError, match="is a folder"):
        report.to_html(tmp_path)


def test_the_command_checks_the_path_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "report.html"
    done = CliRunner().invoke(app, ["evaluate", "no-model", "no-table.csv", "--report", str(path)])
    assert isinstance(done.exception, DataError)
    assert str(done.exception) == f"{path}: the folder {path.parent} does not exist; create it first"


def test_templates_are_part_of_the_package() -> None:
    settings = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["manyheads"]
    package = Path("src/manyheads")
    for file in (package / "evaluation/page/templates").rglob("*.*"):
        folder = file.relative_to(package).parent.as_posix()
        assert any(pattern == f"{folder}/*" or fnmatch.fnmatch(file.name, pattern) for pattern in patterns), file


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_in_a_browser_all_pictures_are_seen_and_nothing_overflows(html: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    frames, console = measured_in_browser(tmp_path / "report.html", widths=(390, 1200))
    assert [frame["width"] for frame in frames] == [390, 1200]
    for frame in frames:
        assert frame["pictures"] == html.count("<svg")
        assert frame["unseen"] == 0
        assert frame["outside"] == []
        assert frame["scrolled"] <= frame["width"]
    assert console == []
