"""Passes with a prompt around each text, as few as there can be.

Prompts that differ only behind the text have everything before in common. A causal stack then reads that once and goes
on from its key-value cache for each of them; if nothing stands before the text either, that is the pass that the plain
heads and the language model need anyway.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.outputs import layer_of
from manyheads.backbone.stack.probe import evaluating, forward_arguments, forward_settings, probe_batch
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.errors import HeadError, InputError
from manyheads.types import Batch, Request, States, Template

_AGREES = 1e-4
_PROBED = 3


class PromptTokenizer(Protocol):
    """What turns words into token ids: the backbone's tokenizer, as far as a backbone need know of it."""

    def template(self, prompt: str) -> Template:
        """Return a prompt as token ids."""

    def word(self, word: str) -> list[list[int]]:
        """Return the token ids of each part of a word or phrase that blanks divide, as they stand in running text."""

    def loose_blank(self, prompt: str) -> bool:
        """Tell whether a prompt ends a side with a blank that running text would not have as a token of its own."""

    def empty(self) -> list[int]:
        """Return what stands for a text without any token."""


@dataclass(frozen=True)
class Passes:
    """How the prompts of one forward are read.

    Attributes:
        stack: The backbone's.
        layers: How many hidden states it has.
        templates: The prompts as token ids.
        wanted: What is asked of each prompt's pass.
        plain: Prompts that go on from the pass without any prompt.
        groups: Prompts that go on from a beginning of their own, which they share.
        whole: Prompts that are passes of their own.
    """

    stack: nn.Module
    layers: int
    templates: Mapping[str, Template]
    wanted: Mapping[str, Request]
    plain: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    whole: tuple[str, ...]

    @staticmethod
    def apart(
        stack: nn.Module, layers: int, templates: Mapping[str, Template], wanted: Mapping[str, Request]
    ) -> Passes:
        """Return each prompt as a pass of its own."""
        return Passes(stack, layers, templates, wanted, (), (), tuple(templates))

    @property
    def sharing(self) -> bool:
        """Whether any prompt goes on from what others have read."""
        return bool(self.plain or self.groups)

    def shared(self, arranged: RightPadded, plain: bool) -> Passes:
        """Return them with every beginning that several have in common read once.

        Args:
            arranged: The texts.
            plain: Whether the pass without a prompt runs anyway.
        """
        longest = arranged.mask.shape[1]
        groups: dict[tuple[int, ...], list[str]] = {}
        for prompt in (prompt for prompt in self.templates if self._may_extend_cache(prompt, longest)):
            groups.setdefault(self.templates[prompt].before, []).append(prompt)
        behind = tuple(groups.pop((), [])) if plain else ()
        several = tuple(tuple(prompts) for prompts in groups.values() if len(prompts) > 1)
        going = {*behind, *(prompt for group in several for prompt in group)}
        whole = tuple(prompt for prompt in self.templates if prompt not in going)
        return replace(self, plain=behind, groups=several, whole=whole)

    def common(self, prompts: Sequence[str]) -> Request:
        """Return what a beginning has to yield for the prompts that go on from it."""
        return Request(frozenset[int]().union(*(self.wanted[prompt].layers for prompt in prompts)))

    def extended_from_cache(self, prompts: Sequence[str], states: States, past: Any) -> dict[str, States]:
        """Return what prompts yield, from what their beginning yielded and its key-value cache."""
        return {
            prompt: extend_from_cache(
                self.stack, past, states, self.templates[prompt].after, self.wanted[prompt], self.layers
            )
            for prompt in prompts
        }

    def beginning(self, prompts: Sequence[str], arranged: RightPadded) -> Batch:
        """Return the batch that these prompts begin with."""
        return worded(arranged.batch, arranged.mask, self.templates[prompts[0]], after=False)

    def all_of(self, prompt: str, arranged: RightPadded) -> Batch:
        """Return the batch of one whole prompt."""
        return worded(arranged.batch, arranged.mask, self.templates[prompt])

    def _may_extend_cache(self, prompt: str, longest: int) -> bool:
        """Tell whether a prompt asks for plain states behind texts that need not be cut for it, with no window of
        attention shorter than the rows: it would count the padding in between."""
        template, wanted = self.templates[prompt], self.wanted[prompt]
        size = longest + template.added
        windows = [getattr(self.stack.config, name, None) for name in ("sliding_window", "attention_chunk_size")]
        fits = template.limit is None or size <= template.limit
        sees = all(size < window for window in windows if isinstance(window, int))
        plain = not (template.closing or wanted.branches or wanted.pooled)
        return fits and sees and plain and bool(template.after)


def check_room(templates: Mapping[str, Template], owner: str) -> None:
    """Check that every prompt leaves room for text.

    Raises:
        HeadError: a prompt fills the token limit.
    """
    for prompt, template in templates.items():
        taken = template.added + len(template.opening) + len(template.closing)
        if template.limit is not None and taken >= template.limit:
            raise HeadError(
                f"{owner}: the prompt {prompt!r:.60} takes {taken} of {template.limit} tokens and leaves no "
                "room for a text; shorten it"
            )


def worded(batch: Batch, mask: Tensor, template: Template, after: bool = True) -> Batch:
    """Return a right-padded batch of the texts with a prompt around them.

    Args:
        batch: Right-padded texts, as the tokenizer makes them.
        mask: (rows, tokens) booleans of the real tokens.
        template: The prompt.
        after: Whether to go on behind the text.

    Raises:
        InputError: pairs of texts, or positions of the caller's own: a prompt stands around one text.
    """
    if batch.position_ids is not None or (batch.token_type_ids is not None and bool(batch.token_type_ids.any())):
        raise InputError("A prompt stands around one text: give no pairs, no position_ids and no token_type_ids")
    rows = [ids[kept].tolist() for ids, kept in zip(batch.input_ids, mask, strict=True)]
    ids = [torch.tensor(_around(row, template, after), device=mask.device) for row in rows]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    lengths = torch.tensor([len(row) for row in ids], device=mask.device)
    kept = (torch.arange(padded.shape[1], device=mask.device) < lengths.unsqueeze(1)).long()
    types = None if batch.token_type_ids is None else torch.zeros_like(padded)
    return Batch(padded, kept, types)


def _around(row: Sequence[int], template: Template, after: bool) -> list[int]:
    """Return one row with the prompt; the text's end gives way where both are too long."""
    opening, closing = list(template.opening), list(template.closing)
    if tuple(row) == template.empty and template.added:
        row = ()
    start = len(opening) if list(row[: len(opening)]) == opening else 0
    end = len(row) - len(closing) if closing and list(row[-len(closing) :]) == closing else len(row)
    text = list(row[start : max(start, end)])
    if template.limit is not None:
        text = text[: max(template.limit - template.added - len(opening) - len(closing), 0)]
    behind = [*template.after, *closing] if after else []
    return [*opening, *template.before, *text, *behind]


def extend_from_cache(
    stack: nn.Module, past: Any, states: States, after: Sequence[int], request: Request, layers: int
) -> States:
    """Return the states of texts and of what comes behind them, from those of the texts alone.

    Args:
        stack: A causal stack.
        past: Its key-value cache of the texts; not changed.
        states: What the pass over the texts yielded, with every layer that is asked for.
        after: Token ids that go on behind each text.
        request: Layers.
        layers: How many hidden states there are.
    """
    rows, device = len(states.mask), states.mask.device
    ids = torch.tensor(after, device=device).expand(rows, -1)
    mask = torch.cat([states.mask, torch.ones_like(ids, dtype=torch.bool)], dim=1)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask.long(), "past_key_values": copy.deepcopy(past)}
    if "position_ids" in forward_arguments(stack):
        inputs["position_ids"] = states.mask.sum(dim=1, keepdim=True) + torch.arange(len(after), device=device)
    output = stack(**inputs, **forward_settings(stack, bool(request.layers - {-1})) | {"use_cache": True})
    hidden = {
        layer: torch.cat([states.hidden[layer], layer_of(output, layer, layers)], dim=1) for layer in request.layers
    }
    return States(hidden, mask, torch.cat([states.input_ids, ids], dim=1))


def can_extend_cache(stack: nn.Module) -> bool:
    """Tell whether a causal stack that goes on from its key-value cache gives what it gives whole, rows of unequal
    length included; tried on a few tokens."""
    arranged = probe_batch(stack)
    after = [int(token) for token in arranged.batch.input_ids[0, :_PROBED]]
    whole = worded(arranged.batch, arranged.mask, Template((), tuple(after)))
    with evaluating(stack):
        expected = stack(**whole.inputs(), **forward_settings(stack, False)).last_hidden_state
        short = stack(**arranged.batch.inputs(), **forward_settings(stack, False) | {"use_cache": True})
        past = getattr(short, "past_key_values", None)
        if past is None:
            return False
        states = States({-1: short.last_hidden_state}, arranged.mask, arranged.batch.input_ids)
        found = extend_from_cache(stack, past, states, after, Request(frozenset({-1})), 0).hidden[-1][:, -len(after) :]
    ends = whole.attention_mask.sum(dim=1)
    wanted = torch.stack([row[end - len(after) : end] for row, end in zip(expected, ends.tolist(), strict=True)])
    return bool((found - wanted).abs().max() <= _AGREES * wanted.abs().max())
