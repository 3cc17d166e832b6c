"""Tags of SVG, with escaped text and short numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from manyheads.evaluation.page.clean import clean


def tag(name: str, attributes: Mapping[str, object], *children: str) -> Markup:
    """Return a tag; children are other tags, or text, which is escaped."""
    shown = Markup("").join(Markup(' {}="{}"').format(key, _short(value)) for key, value in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, shown, joined(children))


def joined(parts: Iterable[str]) -> Markup:
    """Return tags and text one after the other."""
    return Markup("").join(part if isinstance(part, Markup) else clean(part) for part in parts)


def picture(title: str, description: str, size: tuple[float, float], *parts: str) -> Markup:
    """Return a picture that is as wide as its place.

    Args:
        title: What it shows, in a few words: its name for screen readers.
        description: What is to be seen in it, in a sentence with its numbers.
        size: Width and height.
        parts: Its tags.
    """
    attributes = {"viewBox": f"0 0 {_short(size[0])} {_short(size[1])}", "role": "img", "style": f"--width:{size[0]}"}
    return tag("svg", attributes, tag("title", {}, title), tag("desc", {}, description), *parts)


def caption(text: str, x: float, y: float, anchor: str = "start", style: str = "tick") -> Markup:
    """Return a line of text.

    Args:
        text: The text.
        x: Where its anchor is.
        y: Its baseline.
        anchor: ``"start"``, ``"middle"`` or ``"end"``.
        style: Its class in ``style.css``.
    """
    return tag("text", {"x": x, "y": y, "text-anchor": anchor, "class": style}, text)


def _short(value: object) -> object:
    """Return numbers with at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
