"""The templates' environment: all text is escaped, and an unknown name is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from manyheads.evaluation.page.clean import clean


@cache
def environment() -> Environment:
    """Return the environment."""
    return Environment(
        loader=PackageLoader("manyheads.evaluation.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _cleaned(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
