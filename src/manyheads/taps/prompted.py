"""The prompted tap: another tap, with a template around the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manyheads.errors import HeadError
from manyheads.taps.base import BackboneTap, Wrapper
from manyheads.taps.output import Output
from manyheads.types import BackboneFacts, Features, Request, States

SLOT = "{text}"


@dataclass(frozen=True)
class Prompted(Wrapper):
    """Read another tap in a pass over the text with a prompt around it.

    ``Hidden(prompt=...)`` and ``LMLogits(prompt=...)`` become these; nobody has to write one.

    Args:
        prompt: A template with ``{text}`` in it once, such as ``"{text}\\nUrgency:"``.
        reads: The tap to read in that pass; its pooling includes the prompt's tokens.

    Raises:
        HeadError: a template without ``{text}``, or with several.
    """

    kind: ClassVar[str] = "prompted"

    prompt: str
    reads: BackboneTap

    def __post_init__(self) -> None:
        check_prompt(type(self).__name__, self.prompt)
        if not isinstance(self.reads, BackboneTap) or isinstance(self.reads, Wrapper | Output):
            raise HeadError(f"Prompted: reads must be a tap of the backbone, got {self.reads!r}")

    def __str__(self) -> str:
        return f"{self.reads} of {self.prompt!r}"

    def request(self, facts: BackboneFacts) -> Request:
        """Ask the pass with the prompt for what the tap needs."""
        return Request(prompts={self.prompt: self.reads.request(facts)})

    def read(self, states: States) -> Features:
        """Read that pass's states."""
        return self.reads.read(states.prompts[self.prompt])


def check_prompt(owner: str, prompt: object) -> None:
    """Check that a template contains ``{text}`` once.

    Raises:
        HeadError: names the owner.
    """
    if not isinstance(prompt, str) or prompt.count(SLOT) != 1:
        raise HeadError(
            f"{owner}: prompt must be a template with {SLOT} in it once, such as '{SLOT}\\nUrgency:', got {prompt!r}"
        )


def under(prompt: str | None, tap: BackboneTap) -> BackboneTap:
    """Return a tap as read with a prompt, or as it is without one."""
    return tap if prompt is None else Prompted(prompt, tap)
