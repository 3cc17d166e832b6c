"""The branched tap: what another tap would read, but from a branch that training put beside the backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from manyheads.errors import HeadError
from manyheads.taps.base import BackboneTap, Tap, Wrapper
from manyheads.taps.output import Output
from manyheads.types import BackboneFacts, Features, Request, States


@dataclass(frozen=True)
class Branched(Wrapper):
    """Read from a fork or an adapter what another tap reads from the backbone.

    Training makes these; nobody has to write one.

    Args:
        branch: The branch's name.
        reads: What to read there.

    Raises:
        HeadError: a branch of a branch, or no tap.
    """

    kind: ClassVar[str] = "branched"

    branch: str
    reads: BackboneTap

    def __post_init__(self) -> None:
        if not isinstance(self.branch, str) or not self.branch.isidentifier():
            raise HeadError(f"Branched: branch must be an identifier, got {self.branch!r}")
        if not isinstance(self.reads, BackboneTap) or isinstance(self.reads, Branched | Output):
            raise HeadError(f"Branched: reads must be a tap of the backbone, got {self.reads!r}")

    def __str__(self) -> str:
        return f"{self.reads} of {self.branch}"

    def request(self, facts: BackboneFacts) -> Request:
        """Ask the branch for what the tap needs, under each of its prompts."""
        inner = self.reads.request(facts)
        plain = replace(inner, prompts={})
        prompts = {prompt: Request(branches={self.branch: wanted}) for prompt, wanted in inner.prompts.items()}
        return Request(branches={} if plain.empty else {self.branch: plain}, prompts=prompts)

    def read(self, states: States) -> Features:
        """Read the branch's states."""
        prompts = {
            prompt: found.branches[self.branch]
            for prompt, found in states.prompts.items()
            if self.branch in found.branches
        }
        own = states.branches.get(self.branch, States({}, states.mask, states.input_ids))
        return self.reads.read(replace(own, prompts=prompts))


def on_branch(tap: Tap, branch: str, facts: BackboneFacts) -> Tap:
    """Return a resolved tap on a branch; a tap that needs no pass is the same on every branch."""
    return Branched(branch, tap) if isinstance(tap, BackboneTap) and tap.needs_pass(facts) else tap


def off_branch(tap: Tap, branch: str) -> Tap:
    """Return a tap of this branch as a tap of the backbone, and any other unchanged."""
    return tap.reads if isinstance(tap, Branched) and tap.branch == branch else tap
