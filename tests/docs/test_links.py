"""Every link and image of README and docs/ leads somewhere, and every page can be reached."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of, without_code

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_IMAGE = re.compile(r"<img[^>]*\bsrc=\"([^\"]+)\"")


def links(page: Path) -> list[str]:
    text = without_code(page)
    return [link for link in [*_LINK.findall(text), *_IMAGE.findall(text)] if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S), re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.is_file(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: outside the repository"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: no such heading; there are {sorted(anchors(target))}"


def navigation(items: object) -> Iterator[str]:
    if isinstance(items, str):
        yield items
    elif isinstance(items, dict):
        for item in items.values():
            yield from navigation(item)
    elif isinstance(items, list):
        for item in items:
            yield from navigation(item)


def test_the_navigation_names_every_page() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    named = sorted(navigation(config["project"]["nav"]))
    assert named == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[1:])
