"""The templates' environment: all text is escaped, and an unknown name is an error."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from manyheads.evaluation.page.clean import clean

_BREAKABLE = re.compile("([_/])")


@cache
def environment() -> Environment:
    """Return the environment."""
    found = Environment(
        loader=PackageLoader("manyheads.evaluation.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["breakable"] = breakable
    return found


def breakable(text: str) -> Markup:
    """Return a text that may be broken after underscores and slashes, as in names of labels."""
    return Markup(_BREAKABLE.sub(r"\1<wbr>", str(escape(_cleaned(text)))))


def _cleaned(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
