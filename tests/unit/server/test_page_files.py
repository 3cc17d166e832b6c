"""The page at ``/``: what it contains, read without a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import manyheads as mh
from manyheads.server import ServerSettings, create_app

KEY = "correct horse"


class Document(HTMLParser):
    """The parts of a page that the tests ask about."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.content: dict[str, str] = {}
        self._open = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.content[self._open] = self.content.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def values(self, *names: str) -> set[str]:
        return {word for _, name, value in self.attributes if name in names for word in value.split()}


@pytest.fixture(scope="module")
def client(saved: Callable[[str], Path]) -> Iterator[TestClient]:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    with TestClient(create_app(model, ServerSettings(api_key=KEY))) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: TestClient) -> Document:
    return Document(client.get("/").text)


def test_the_page_needs_no_key_and_tells_nothing_of_the_model(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "GPT2" not in page.text
    assert KEY not in page.text
    assert client.get("/info").status_code == 401


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(
    client: TestClient, document: Document
) -> None:
    policy = dict(rule.split(" ", 1) for rule in client.get("/").headers["content-security-policy"].split("; "))
    digests = {
        tag: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for tag, text in document.content.items()
    }
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert (policy["style-src"], policy["script-src"]) == (digests["style"], digests["script"])
    assert policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"


def test_nothing_comes_from_elsewhere(document: Document) -> None:
    links = {value for _, name, value in document.attributes if name in ("src", "href", "action", "srcset", "poster")}
    assert {link for link in links if not link.startswith(("#", "data:image/svg+xml,"))} == {"openapi.json"}
    assert not re.search(r"url\(|@import|@font-face", document.content["style"])
    assert not re.search(r"https?://|//\w+\.\w+/", document.content["script"])
    assert not {name for _, name, _ in document.attributes if name.startswith("on") or name in ("style", "src")}


def test_the_script_makes_no_markup_of_text(document: Document) -> None:
    risky = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage|sessionStorage"
    assert not re.search(risky, document.content["script"])
    assert "document.cookie" not in document.content["script"]


def test_every_id_that_is_used_is_there(document: Document) -> None:
    script, ids = document.content["script"], document.values("id")
    asked = set(re.findall(r'byId\("([\w-]+)"\)', script)) | set(re.findall(r'"#([\w-]+)', script))
    for table in re.findall(r"const IDS = \{(.*?)\}", script):
        asked |= set(re.findall(r'"([\w-]+)"', table))
    assert len(asked) > 40
    assert asked <= ids
    assert document.values("for", "aria-describedby", "aria-labelledby") <= ids
    assert {link[1:] for link in document.values("href") if link.startswith("#")} <= ids


def test_every_field_has_a_label(document: Document) -> None:
    fields = {value for tag, name, value in document.attributes if tag in ("textarea", "select") and name == "id"}
    assert fields | {"key", "tokens"} <= document.values("for")


LIGHT, DARK = 0, 1


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_was_computed_as_wcag_does() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_text_is_legible_in_light_and_dark(document: Document, scheme: int) -> None:
    roots = re.findall(r":root \{(.*?)\}", document.content["style"], re.S)
    color = dict(re.findall(r"--([\w-]+): (#\w{6});", roots[scheme]))
    texts = [(text, ground) for text in ("ink", "muted", "blue", "orange") for ground in ("paper", "wash")]
    texts += [("on-blue", "blue"), *(("ink", f"span-{number}") for number in range(6))]
    parts = [("edge", "paper"), ("edge", "wash"), ("blue", "rest"), ("ink", "rest")]
    assert {pair for pair in texts if contrast(color[pair[0]], color[pair[1]]) < 4.5} == set()
    assert {pair for pair in parts if contrast(color[pair[0]], color[pair[1]]) < 3} == set()
