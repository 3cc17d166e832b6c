"""One HTML document of the page's files, and the headers that allow it only what it contains."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from manyheads._version import VERSION

_FILES = files("manyheads.server.page") / "files"
# An import of another file of the page, and what a file exports to others.
_IMPORT = re.compile(r'^import (?P<names>\{[^}]*\}) from "\./(?P<file>\w+)\.js";$', re.M)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|const|class) (?P<name>\w+))", re.M)


@dataclass(frozen=True)
class Page:
    """The page.

    Attributes:
        html: The document.
        headers: The headers that it is sent with.
    """

    html: str
    headers: Mapping[str, str]


def read_page() -> Page:
    """Return the page. It has one inline style and one inline script, which its policy allows by their digests."""
    style = _read("style.css")
    script = one_script("page")
    environment = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
    html = environment.from_string(_read("index.html.jinja")).render(style=style, script=script, version=VERSION)
    headers = {
        "content-security-policy": policy(style, script),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",
    }
    return Page(html, headers)


def policy(style: str, script: str) -> str:
    """Return a content security policy: nothing from elsewhere, nothing inline but these two, no markup from text."""
    rules = (
        "default-src 'none'",
        f"style-src '{_digest(style)}'",
        f"script-src '{_digest(script)}'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


def one_script(first: str) -> str:
    """Return a JavaScript module and all that it imports as one script: a function for each, which returns its exports.

    Browsers have no way to allow an inline module that imports others by a digest.

    Args:
        first: The module's file, without its ending.
    """
    return "\n".join(_as_function(name, _read(f"{name}.js")) for name in _in_order(first))


def _as_function(name: str, source: str) -> str:
    exported = ", ".join(match["name"] for match in _EXPORT.finditer(source))
    body = _EXPORT.sub("", _IMPORT.sub(r"const \g<names> = \g<file>_js;", source))
    return f"const {name}_js = (() => {{\n{body}return {{ {exported} }};\n}})();\n"


def _in_order(name: str) -> list[str]:
    """Return a module and those that it imports, each after its own imports."""
    order: dict[str, None] = {}
    for match in _IMPORT.finditer(_read(f"{name}.js")):
        order |= dict.fromkeys(_in_order(match["file"]))
    return [*order, name]


def _read(name: str) -> str:
    return (_FILES / name).read_text("utf-8")


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
