"""Passes with a prompt around each text, as few as possible.

Prompts that differ only after the text share everything before it. A causal stack computes that prefix once and extends
its key-value cache for each prompt. If the prompts have nothing before the text, the prefix is the plain pass that
other heads and the language model need anyway.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.layer_reader import LayerReader
from manyheads.backbone.stack.module_state import kept_state
from manyheads.backbone.stack.probe import evaluating, forward_arguments, forward_settings, probe_batch
from manyheads.backbone.stack.right_padding import RightPadded, right_pad
from manyheads.errors import HeadError, InputError
from manyheads.types import Batch, Request, States, Template, WordPieces

_TOLERANCE = 1e-4
_PROBE_SUFFIX = 3


class PromptTokenizer(Protocol):
    """Tokenizes prompts and label words with the backbone's own tokenizer."""

    def template(self, prompt: str) -> Template:
        """Return a prompt as token ids."""

    def word_pieces(self, phrase: str) -> list[list[int]]:
        """Return the token ids of each space-separated word of a phrase, as in running text."""

    def has_separate_space(self, prompt: str) -> bool:
        """Return whether a side of the prompt ends in a space that running text would not encode as its own token."""

    def empty_text(self) -> list[int]:
        """Return the token ids that represent an empty text."""

    def vocabulary_pieces(self) -> WordPieces:
        """Return the part of each token of the vocabulary in words."""


@dataclass(frozen=True)
class PromptPasses:
    """The plan for the prompts of one forward pass.

    Attributes:
        stack: The backbone's stack.
        reader: Reads its hidden states by layer.
        templates: Prompt -> its token ids.
        requests: Prompt -> the states that taps need.
        after_text: Prompts that extend the plain pass over the texts.
        groups: Prompts that extend a pass over a common prefix, by prefix.
        separate: Prompts with a pass of their own.
    """

    stack: nn.Module
    reader: LayerReader
    templates: Mapping[str, Template]
    requests: Mapping[str, Request]
    after_text: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    separate: tuple[str, ...]

    @staticmethod
    def without_sharing(
        stack: nn.Module, reader: LayerReader, templates: Mapping[str, Template], requests: Mapping[str, Request]
    ) -> PromptPasses:
        """Return a plan in which every prompt has a pass of its own."""
        return PromptPasses(stack, reader, templates, requests, (), (), tuple(templates))

    @property
    def is_sharing(self) -> bool:
        """Whether any prompt extends another pass."""
        return bool(self.after_text or self.groups)

    def sharing_prefixes(self, padded: RightPadded, plain: int) -> PromptPasses:
        """Return the plan in which every common prefix is computed once, where that saves blocks.

        A pass whose cache is extended runs through all blocks.

        Args:
            padded: The texts.
            plain: Number of blocks that the plain pass over the texts runs through anyway; 0 without such a pass.
        """
        longest = padded.mask.shape[1]
        groups: dict[tuple[int, ...], list[str]] = {}
        for prompt in (prompt for prompt in self.templates if self._may_extend_cache(prompt, longest)):
            groups.setdefault(self.templates[prompt].before, []).append(prompt)
        after = groups.get((), ())
        # The plain pass reads an empty text's token, which a prompt does not have in it.
        empty = any(_has_empty(padded, self.templates[prompt]) for prompt in after)
        shares = plain and not empty and self._saves(after, plain)
        after_text = tuple(groups.pop((), [])) if shares else ()
        shared = tuple(tuple(prompts) for prompts in groups.values() if self._saves(prompts))
        extending = {*after_text, *(prompt for group in shared for prompt in group)}
        separate = tuple(prompt for prompt in self.templates if prompt not in extending)
        return replace(self, after_text=after_text, groups=shared, separate=separate)

    def prefix_request(self, prompts: Sequence[str]) -> Request:
        """Return the states that a prefix must yield for the prompts that extend it."""
        return Request(frozenset[int]().union(*(self.requests[prompt].layers for prompt in prompts)))

    def prefix_batch(self, prompts: Sequence[str], padded: RightPadded) -> Batch:
        """Return the common prefix of these prompts: the tokens before the text, and the text."""
        return with_prompt(padded.batch, padded.mask, self.templates[prompts[0]], after=False)

    def prompt_batch(self, prompt: str, padded: RightPadded) -> Batch:
        """Return the texts with the whole prompt around them."""
        return with_prompt(padded.batch, padded.mask, self.templates[prompt])

    def extended(self, prompts: Sequence[str], prefix: States, cache: Any) -> dict[str, States]:
        """Return the states of each prompt, from the states and the key-value cache of their prefix."""
        return {
            prompt: extend_from_cache(
                self.stack, cache, prefix, self.templates[prompt].after, self.requests[prompt], self.reader
            )
            for prompt in prompts
        }

    def _saves(self, prompts: Iterable[str], others: int = 0) -> bool:
        """Return whether separate passes run more blocks over the text than one that runs through all of them."""
        return (
            others + sum(self.reader.blocks_run(self.requests[prompt]) for prompt in prompts) > self.reader.layers - 1
        )

    def _may_extend_cache(self, prompt: str, longest: int) -> bool:
        """Return whether a prompt can extend a cache.

        It needs only hidden states, no text is truncated for it, and no attention window is shorter than the rows: the
        window would count the padding in between.
        """
        template, request = self.templates[prompt], self.requests[prompt]
        size = longest + template.added
        windows = [
            getattr(getattr(self.stack, "config", None), name, None)
            for name in ("sliding_window", "attention_chunk_size")
        ]
        fits = template.limit is None or size <= template.limit
        in_window = all(size < window for window in windows if isinstance(window, int))
        hidden_only = not (template.closing or request.branches or request.pooled)
        return fits and in_window and hidden_only and bool(template.after)


def _has_empty(padded: RightPadded, template: Template) -> bool:
    """Return whether a row is an empty text."""
    size = len(template.empty)
    if not 0 < size <= padded.mask.shape[1]:
        return False
    empty = torch.tensor(template.empty, device=padded.mask.device)
    same = (padded.batch.input_ids[:, :size] == empty).all(dim=1) & (padded.mask.sum(dim=1) == size)
    return bool(same.any())


def prompt_templates(tokenizer: PromptTokenizer | None, prompts: Iterable[str], owner: str) -> dict[str, Template]:
    """Return prompt -> its token ids.

    Raises:
        InputError: there are prompts but no tokenizer.
    """
    templates: dict[str, Template] = {}
    for prompt in prompts:
        if tokenizer is None:
            raise InputError(f"{owner}: has no tokenizer for the prompt {prompt!r}; wrap the model with one")
        templates[prompt] = tokenizer.template(prompt)
    return templates


def check_room(templates: Mapping[str, Template], owner: str) -> None:
    """Check that every prompt leaves room for text.

    Raises:
        HeadError: a prompt fills the token limit.
    """
    for prompt, template in templates.items():
        taken = template.added + len(template.opening) + len(template.closing)
        if template.limit is not None and taken >= template.limit:
            raise HeadError(
                f"{owner}: the prompt {prompt!r:.60} needs {taken} of {template.limit} tokens and leaves no room for "
                "text; shorten it"
            )


def with_prompt(batch: Batch, mask: Tensor, template: Template, after: bool = True) -> Batch:
    """Return a right-padded batch of the texts with a prompt around them.

    Args:
        batch: Right-padded texts, as the tokenizer encodes them.
        mask: (rows, tokens) booleans, true for real tokens.
        template: The prompt.
        after: Whether to include the prompt's tokens after the text.

    Raises:
        InputError: text pairs, or custom positions.
    """
    if batch.position_ids is not None or (batch.token_type_ids is not None and bool(batch.token_type_ids.any())):
        raise InputError("A prompt surrounds a single text; remove text pairs, position_ids and token_type_ids")
    rows = [ids[kept].tolist() for ids, kept in zip(batch.input_ids, mask, strict=True)]
    ids = [torch.tensor(template.around(row, after), device=mask.device) for row in rows]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    lengths = torch.tensor([len(row) for row in ids], device=mask.device)
    attention_mask = (torch.arange(padded.shape[1], device=mask.device) < lengths.unsqueeze(1)).long()
    types = None if batch.token_type_ids is None else torch.zeros_like(padded)
    return Batch(padded, attention_mask, types)


def extend_from_cache(
    stack: nn.Module, cache: Any, prefix: States, after: Sequence[int], request: Request, reader: LayerReader
) -> States:
    """Return the states of a prefix and of the tokens after it, computing only the latter, up to the highest layer.

    Args:
        stack: A causal stack.
        cache: Its key-value cache of the prefix; not changed.
        prefix: The states of the prefix, in every requested layer.
        after: Token ids to append to each row.
        request: The requested layers.
        reader: Reads the stack's hidden states by layer.
    """
    rows, device = len(prefix.mask), prefix.mask.device
    ids = torch.tensor(after, device=device).expand(rows, -1)
    mask = torch.cat([prefix.mask, torch.ones_like(ids, dtype=torch.bool)], dim=1)
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    if "position_ids" in forward_arguments(stack):
        inputs["position_ids"] = prefix.mask.sum(dim=1, keepdim=True) + torch.arange(len(after), device=device)

    def run(hidden_states: bool) -> Any:
        settings = forward_settings(stack, hidden_states) | {"use_cache": True}
        return stack(**inputs, past_key_values=copy.deepcopy(cache), **settings)

    added = reader.read(stack, run, right_pad(Batch(ids, torch.ones_like(ids))), request)
    hidden = {layer: torch.cat([prefix.hidden[layer], added.hidden[layer]], dim=1) for layer in request.layers}
    return States(hidden, mask, torch.cat([prefix.input_ids, ids], dim=1))


def can_extend_cache(stack: nn.Module) -> bool:
    """Return whether a causal stack computes the same from its key-value cache as in one pass.

    It is tried on a few tokens, in rows of unequal length.
    """
    padded = probe_batch(stack)
    after = [int(token) for token in padded.batch.input_ids[0, :_PROBE_SUFFIX]]
    whole = with_prompt(padded.batch, padded.mask, Template((), tuple(after)))
    with evaluating(stack), kept_state(stack):
        in_one_pass = stack(**whole.inputs(), **forward_settings(stack, False)).last_hidden_state
        prefix = stack(**padded.batch.inputs(), **forward_settings(stack, False) | {"use_cache": True})
        cache = getattr(prefix, "past_key_values", None)
        if cache is None:
            return False
        states = States({-1: prefix.last_hidden_state}, padded.mask, padded.batch.input_ids)
        extended = extend_from_cache(stack, cache, states, after, Request(frozenset({-1})), LayerReader(0, {}))
    found = extended.hidden[-1][:, -len(after) :]
    ends = whole.attention_mask.sum(dim=1).tolist()
    expected = torch.stack([row[end - len(after) : end] for row, end in zip(in_one_pass, ends, strict=True)])
    return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max())
