"""Passes with a prompt around each text, as few as there can be.

Prompts that differ only behind the text have everything before in common. A causal stack then reads that once and goes
on from its key-value cache for each of them; if nothing stands before the text either, that is the pass that the plain
heads and the language model need anyway.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from manyheads.backbone.branch import layer_of
from manyheads.backbone.stack import accepted, evaluating, probe_batch, switches
from manyheads.errors import InputError
from manyheads.types import Batch, Request, States, Template

_AGREES = 1e-4
_PROBED = 3


class Wording(Protocol):
    """What turns words into token ids: the backbone's tokenizer, as far as a backbone need know of it."""

    def template(self, prompt: str) -> Template:
        """Return a prompt as token ids."""

    def word(self, word: str) -> list[list[int]]:
        """Return the token ids of each part of a word or phrase that blanks divide, as they stand in running text."""

    def empty(self) -> list[int]:
        """Return what stands for a text without any token."""


@dataclass(frozen=True)
class Shared:
    """Prompts whose passes begin alike.

    Attributes:
        prompts: Those that go on from the common part.
        plain: Whether the common part is the pass without any prompt.
    """

    prompts: tuple[str, ...]
    plain: bool


def shared_passes(
    templates: Mapping[str, Template], wanted: Mapping[str, Request], plain: bool, longest: int
) -> list[Shared]:
    """Return the prompts that should go on from a common part; all others are passes of their own.

    Args:
        templates: By prompt.
        wanted: What is asked of each prompt's pass.
        plain: Whether the pass without a prompt runs anyway.
        longest: Tokens of the longest row.
    """
    groups: dict[tuple[int, ...], list[str]] = {}
    for prompt, template in templates.items():
        fits = template.limit is None or longest + template.added <= template.limit
        simple = not template.closing and template.after and not wanted[prompt].branches and not wanted[prompt].pooled
        if fits and simple:
            groups.setdefault(template.before, []).append(prompt)
    found = [Shared(tuple(prompts), plain and not before) for before, prompts in groups.items()]
    return [one for one in found if one.plain or len(one.prompts) > 1]


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
    start = len(opening) if list(row[: len(opening)]) == opening else 0
    end = len(row) - len(closing) if closing and list(row[-len(closing) :]) == closing else len(row)
    text = list(row[start : max(start, end)])
    if template.limit is not None:
        text = text[: max(template.limit - template.added - len(opening) - len(closing), 0)]
    behind = [*template.after, *closing] if after else []
    return [*opening, *template.before, *text, *behind]


def go_on(stack: nn.Module, past: Any, states: States, after: Sequence[int], request: Request, layers: int) -> States:
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
    if "position_ids" in accepted(stack):
        inputs["position_ids"] = states.mask.sum(dim=1, keepdim=True) + torch.arange(len(after), device=device)
    output = stack(**inputs, **switches(stack, bool(request.layers - {-1})) | {"use_cache": True})
    hidden = {
        layer: torch.cat([states.hidden[layer], layer_of(output, layer, layers)], dim=1) for layer in request.layers
    }
    return States(hidden, mask, torch.cat([states.input_ids, ids], dim=1))


def can_go_on(stack: nn.Module) -> bool:
    """Tell whether a causal stack that goes on from its key-value cache gives what it gives whole, rows of unequal
    length included; tried on a few tokens."""
    arranged = probe_batch(stack)
    after = [int(token) for token in arranged.batch.input_ids[0, :_PROBED]]
    whole = worded(arranged.batch, arranged.mask, Template((), tuple(after)))
    with evaluating(stack):
        expected = stack(**whole.inputs(), **switches(stack, False)).last_hidden_state
        short = stack(**arranged.batch.inputs(), **switches(stack, False) | {"use_cache": True})
        past = getattr(short, "past_key_values", None)
        if past is None:
            return False
        states = States({-1: short.last_hidden_state}, arranged.mask, arranged.batch.input_ids)
        found = go_on(stack, past, states, after, Request(frozenset({-1})), 0).hidden[-1][:, -len(after) :]
    ends = whole.attention_mask.sum(dim=1)
    wanted = torch.stack([row[end - len(after) : end] for row, end in zip(expected, ends.tolist(), strict=True)])
    return bool((found - wanted).abs().max() <= _AGREES * wanted.abs().max())
