"""One forward pass: trunk, branches and prompts, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from manyheads.backbone.branches.branch import Branch
from manyheads.backbone.branches.branches import Branches
from manyheads.backbone.stack.prompts import PromptPasses
from manyheads.backbone.stack.right_padding import RightPadded, right_pad
from manyheads.backbone.trunk import Trunk, TrunkOutput
from manyheads.backbone.vocabulary import vocabulary_size
from manyheads.errors import InputError
from manyheads.types import Batch, Request, States, Template


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass of a backbone.

    Attributes:
        trunk: The backbone's own stack.
        branches: Its branches.
        templates: Returns the prompts of a request as token ids.
        kept: Returns a context for one pass of a module, after which its state is as before.
    """

    trunk: Trunk
    branches: Branches
    templates: Callable[[Request], Mapping[str, Template]]
    kept: Callable[[nn.Module], AbstractContextManager[None]]

    def __call__(self, batch: Batch, request: Request, lm: bool = False) -> tuple[States, Tensor | None]:
        """Return the requested states, right-padded, and the language model's logits in the caller's layout.

        The trunk runs once. Branches that can resume from its hidden states do so; the others run whole.

        Raises:
            InputError: a tensor that the model does not accept.
            NoLanguageModelError: ``lm`` without a language model.
        """
        self.trunk.check(batch, lm)
        padded = right_pad(batch)
        self._check_ids(padded.batch.input_ids)
        passes = self._passes(padded, request, lm)
        prefix = passes.prefix_request(passes.after_text)
        output = self.run_texts(padded, request, lm, prefix, keep_cache=bool(passes.after_text))
        prompts = self._run_prompts(padded, request, passes, output)
        return replace(output.states, prompts=prompts), output.logits

    def run_texts(
        self,
        padded: RightPadded,
        request: Request,
        lm: bool = False,
        also: Request | None = None,
        keep_cache: bool = False,
    ) -> TrunkOutput:
        """Run trunk and branches over the texts alone, without checks and without the prompts of the request.

        Args:
            padded: The batch.
            request: The states that taps need.
            lm: Whether to return the language model's logits.
            also: Further states needed of the trunk.
            keep_cache: Whether to return the trunk's key-value cache.
        """
        resumed = self._resumed_branches(request, lm)
        trunk_request = self._trunk_request(request, resumed) | (also or Request())
        with self.kept(self.trunk.model):
            output = self.trunk.run(padded, trunk_request, lm, keep_cache)
        # Only the language model's decoder reads decoder_input_ids.
        padded = replace(padded, batch=replace(padded.batch, decoder_input_ids=None))
        branches = self._run_branches(padded, request, resumed, output.states)
        return replace(output, states=replace(output.states, branches=branches))

    def after_trunk(self, padded: RightPadded, request: Request, hidden: Mapping[int, Tensor]) -> States:
        """Return the requested states after a pass of the trunk in another place, such as ``generate``.

        Args:
            padded: The batch.
            request: Layers of the trunk, and branches that can resume from them.
            hidden: Layer -> right-padded hidden states of the trunk (rows, tokens, width).
        """
        trunk = States(hidden, padded.mask, padded.batch.input_ids, words=padded.words)
        return replace(trunk, branches=self._run_branches(padded, request, list(request.branches), trunk))

    def _check_ids(self, ids: Tensor) -> None:
        name, limit, vocabulary = self.trunk.name, self.trunk.token_limit, vocabulary_size(self.trunk.model)
        if limit is not None and ids.shape[1] > limit:
            raise InputError(f"{name}: a row has {ids.shape[1]} tokens, the limit is {limit}; truncate it")
        if not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            raise InputError(
                f"{name}: input_ids range from {int(ids.min())} to {int(ids.max())}, its vocabulary from 0 to "
                f"{vocabulary - 1}; use the backbone's own tokenizer"
            )

    def _passes(self, padded: RightPadded, request: Request, lm: bool) -> PromptPasses:
        templates = self.templates(request)
        separate = PromptPasses.without_sharing(self.trunk.stack, self.trunk.reader, templates, request.prompts)
        # Sharing saves nothing where gradients are recorded: the backward needs the same memory, and checkpointed
        # blocks keep no cache.
        if not templates or torch.is_grad_enabled():
            return separate
        reader = self.trunk.reader
        plain = reader.layers - 1 if lm else reader.blocks_run(request.trunk)
        shared = separate.sharing_prefixes(padded, plain)
        return shared if shared.is_sharing and self.trunk.extends_cache else separate

    def _resumed_branches(self, request: Request, lm: bool) -> list[str]:
        """Return the branches that resume from the trunk's hidden states.

        A single branch costs no more run whole, and then the trunk need not run.
        """
        able = [name for name, needed in request.branches.items() if self.branches.named(name).entry_layers(needed)]
        return able if lm or not request.trunk.empty or len(able) > 1 else []

    def _trunk_request(self, request: Request, resumed: list[str]) -> Request:
        layers = [self.branches.named(name).entry_layers(request.branches[name]) for name in resumed]
        return Request(request.layers.union(*layers), request.pooled)

    def _run_branches(
        self, padded: RightPadded, request: Request, resumed: list[str], trunk: States
    ) -> dict[str, States]:
        states: dict[str, States] = {}
        for name, needed in request.branches.items():
            branch = self.branches.named(name)
            with self.kept(branch):
                if name in resumed:
                    states[name] = branch.resume_from_states(padded, needed, trunk.hidden)
                else:
                    states[name] = branch(padded, needed)
        return states

    def _run_prompts(
        self, padded: RightPadded, request: Request, passes: PromptPasses, trunk: TrunkOutput
    ) -> dict[str, States]:
        states = passes.extended(passes.after_text, trunk.states, trunk.cache)
        for group in passes.groups:
            texts = right_pad(passes.prefix_batch(group, padded))
            with self.kept(self.trunk.model):
                prefix = self.trunk.run(texts, passes.prefix_request(group), keep_cache=True)
            states |= passes.extended(group, prefix.states, prefix.cache)
        for prompt in passes.separate:
            states[prompt] = self(passes.prompt_batch(prompt, padded), request.prompts[prompt])[0]
        return states


def run_branch_from_states(branch: Branch, name: str, batch: Batch, request: Request, entry: Tensor) -> States:
    """Run one branch alone, from hidden states below it.

    Args:
        branch: A branch that can resume from one layer.
        name: Its name.
        batch: Right-padded.
        request: The layers needed of the branch, none below it.
        entry: Hidden states (rows, tokens, width) that enter it.
    """
    padded = right_pad(batch)
    entry = entry.to(next(branch.stack.parameters()).dtype)
    states = branch.resume_from_states(padded, request, dict.fromkeys(branch.entry_layers(request), entry))
    return States({}, padded.mask, padded.batch.input_ids, branches={name: states})
