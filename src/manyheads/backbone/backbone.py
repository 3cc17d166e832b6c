"""The backbone: the Hugging Face model itself, and one way to run it that serves heads and language model at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from manyheads.backbone import pooler as poolers
from manyheads.backbone.branches.branch import Branch
from manyheads.backbone.branches.fork import ForkBranch
from manyheads.backbone.branches.lora import LoRABranch, LoRASettings, targets_of
from manyheads.backbone.identity.digest import tensors_digest
from manyheads.backbone.identity.source import Source
from manyheads.backbone.limits import table_limit
from manyheads.backbone.pooler import BesidePooler
from manyheads.backbone.stack.find import find_blocks, find_stack
from manyheads.backbone.stack.lm_head import LMHead
from manyheads.backbone.stack.outputs import states_of
from manyheads.backbone.stack.probe import forward_arguments, forward_settings, observe
from manyheads.backbone.stack.prompts import Passes, PromptTokenizer, can_extend_cache
from manyheads.backbone.stack.right_padding import RightPadded, right_pad
from manyheads.backbone.vocabulary import follow, grow, named_by_identity, vocabulary_size
from manyheads.errors import BackboneError, HeadError, InputError, NoLanguageModelError, listed
from manyheads.types import BackboneFacts, Batch, Request, States, Template

_FEW_BITS = frozenset({torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2})
_NO_POOLER = "its class has none and its files hold none"


class Backbone(nn.Module):
    """A Hugging Face model, run as it is.

    Args:
        model: The model, with its own language-model head if it has one. It is held, never changed.
        source: Where it was loaded from; ``None`` for an object made in memory.
        beside: A trained pooler that the file holds and the class leaves out.
        random_pooler: Whether the class's own pooler was drawn at random at loading.

    Attributes:
        token_budget: Tokens per batch at which it runs fastest here, once a long pass has measured it.
        dtype_was_asked_for: Whether its weights are in a precision that somebody chose, not the checkpoint's own.
        branches: Branch name -> a second way through the stack that only heads read.
        prompt_tokenizer: What turns prompts and label words into token ids; ``None`` without a tokenizer.
        new_tokens: How many tokens it was taught since it was loaded.
    """

    def __init__(
        self,
        model: nn.Module,
        source: Source | None = None,
        beside: BesidePooler | None = None,
        random_pooler: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.pooler = beside
        self.branches = nn.ModuleDict()
        self.source = source
        self.prompt_tokenizer: PromptTokenizer | None = None
        self.token_budget: int | None = None
        self.dtype_was_asked_for = False
        self.new_tokens = 0
        self._random_pooler = random_pooler
        self._lm_head: tuple[nn.Parameter, torch.device, LMHead] | None = None
        # What the weights were when they equalled the files: a tuned backbone must not be saved by copying those.
        self._loaded_digest = tensors_digest(model) if source is not None else None

    @property
    def name(self) -> str:
        """The model's class, for messages."""
        return type(self.model).__name__

    @cached_property
    def _stack_path(self) -> str:
        stack = find_stack(self.model)
        paths: dict[nn.Module, str] = {module: name for name, module in self.model.named_modules()}
        return paths[stack]

    @cached_property
    def _table_limit(self) -> int | None:
        return table_limit(self.model)

    @property
    def stack(self) -> nn.Module:
        """The module whose hidden states heads read."""
        return self.model.get_submodule(self._stack_path)

    @cached_property
    def facts(self) -> BackboneFacts:
        """What taps may know; found out by one forward over eight tokens, on first use."""
        observed = observe(self.stack, self.vocabulary_size)
        refusal = self._pooler_refusal()
        width = None if refusal else self._pooler_width(observed.widths[-1])
        # A function, not a method of this object: whoever copies a head must not copy the backbone with it.
        asked = (lambda states: self.lm_head(states)) if self._reads_stack else None
        return BackboneFacts(self.name, observed.widths, observed.causal, self.vocabulary_size, width, refusal, asked)

    @property
    def _reads_stack(self) -> bool:
        """Whether there is an LM head, and it reads what heads read: an encoder-decoder's reads the decoder."""
        return self.lm is not None and not self.model.config.is_encoder_decoder  # type: ignore[union-attr]

    @property
    def lm_head(self) -> LMHead:
        """The LM head by itself.

        Raises:
            NoLanguageModelError: there is none that reads the stack.
            BackboneError: it cannot be asked without the stack.
        """
        if not self._reads_stack:
            raise NoLanguageModelError(f"{self.name}: has no LM head that reads the states that heads read")
        weight = self.model.get_output_embeddings().weight  # type: ignore[operator]
        if self._lm_head is None or self._lm_head[0] is not weight or self._lm_head[1] != weight.device:
            self._lm_head = weight, weight.device, LMHead(self.model, self.stack)
        return self._lm_head[2]

    @property
    def vocabulary_size(self) -> int:
        """For how many token ids it has embeddings."""
        return vocabulary_size(self.model)

    def blocks(self) -> nn.ModuleList:
        """Return the blocks of the stack, the lowest first.

        Raises:
            BackboneError: its layers are no list of blocks.
        """
        return find_blocks(self.stack, len(self.facts.widths) - 1)

    @property
    def lm(self) -> nn.Module | None:
        """The model, if it has a language-model head, else ``None``."""
        return self.model if self.model.get_output_embeddings() is not None else None  # type: ignore[operator]

    @property
    def quantized(self) -> bool:
        """Whether some of its weights are kept in a few bits, and so cannot be stepped."""
        held = [*self.model.parameters(), *self.model.buffers()]
        return bool(getattr(self.model, "is_quantized", False)) or any(tensor.dtype in _FEW_BITS for tensor in held)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    def in_files(self, digest: str) -> bool:
        """Tell whether the tensors of this :meth:`digest` are, bit for bit, what the source's files hold."""
        return self.source is not None and self._loaded_digest == digest

    def file_tensors(self) -> dict[str, Tensor]:
        """Return what files should hold: its tensors, a pooler that lies beside it, and no random one."""
        state = dict(self.model.state_dict())
        if self.pooler is not None:
            return state | self.pooler.named_weights()
        if poolers.in_class(self.stack) and self._pooler_refusal():
            prefix = f"{self._stack_path}.pooler." if self._stack_path else "pooler."
            return {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
        return state

    def adopt(self, source: Source, digest: str) -> None:
        """Take files as those that hold the weights of this :meth:`digest`: they were just written from them."""
        self.source = source
        self._loaded_digest = digest

    def digest(self) -> str:
        """Return the fingerprint of every tensor of the model, in memory: it reads them all, so ask once."""
        return tensors_digest(self.model)

    def fingerprint(self, digest: str) -> str:
        """Return what heads are bound to: the hash of the source's files, or the digest where no files hold it."""
        if self.source is not None and self.in_files(digest):
            return self.source.fingerprint
        return "tensors:" + digest

    def in_precision(self, dtype: torch.dtype) -> Backbone:
        """Return a backbone whose stack has its parameters in another precision: itself if they are already.

        What does not change is shared with this one, so that the copy costs the converted weights alone.
        """
        held = {parameter.dtype for parameter in self.stack.parameters() if parameter.is_floating_point()}
        if held == {dtype}:
            return self
        kept = {id(tensor): tensor for tensor in [*self.model.parameters(), *self.model.buffers()]}
        converted = {id(tensor): _as_dtype(tensor, dtype) for tensor in self.stack.parameters()}
        pooler = None if self.pooler is None else copy.deepcopy(self.pooler).to(dtype)
        copied = Backbone(copy.deepcopy(self.model, kept | converted), None, pooler, self._random_pooler)
        copied.source, copied._loaded_digest = self.source, self._loaded_digest
        copied.token_budget, copied.prompt_tokenizer = self.token_budget, self.prompt_tokenizer
        copied.new_tokens = self.new_tokens
        copied.__dict__["facts"] = self.facts
        return copied

    def forward(self, batch: Batch, request: Request, lm: bool = False) -> tuple[States, Tensor | None]:
        """Run the backbone once, and each branch that cannot go on from it once; none of which nothing is asked.

        Args:
            batch: Any padding; see :func:`manyheads.backbone.stack.right_padding.right_pad`.
            request: What the taps need.
            lm: Whether the language model's logits are wanted too, from the same pass.

        Returns:
            The right-padded states, and the logits (rows, tokens, vocabulary) in the caller's layout or ``None``.

        Raises:
            InputError: a tensor that this model does not take.
            NoLanguageModelError: ``lm`` without a language model.
        """
        runner = self._runner(lm)
        self._check_inputs(batch, runner)
        arranged = right_pad(batch)
        self._check_ids(arranged.batch.input_ids)
        passes = self._passes(arranged, request, lm)
        together, alone = self._divided(request, lm)
        own = self._trunk_request(request, together) | passes.common(passes.plain)
        states, logits, past = self._trunk(arranged, own, lm, bool(passes.plain))
        # What a decoder reads is the language model's alone.
        arranged = replace(arranged, batch=replace(arranged.batch, decoder_input_ids=None))
        branches = {name: self.branch(name)(arranged, request.branches[name]) for name in alone}
        for name in together:
            branch = self.branch(name)
            assert isinstance(branch, ForkBranch)
            branches[name] = branch.resume_from_states(arranged, request.branches[name], states.hidden)
        prompts = passes.extended_from_cache(passes.plain, states, past)
        for group in passes.groups:
            start = right_pad(passes.beginning(group, arranged))
            common, _, past = self._trunk(start, passes.common(group), False, True)
            prompts |= passes.extended_from_cache(group, common, past)
        for prompt in passes.whole:
            prompts[prompt] = self(passes.all_of(prompt, arranged), request.prompts[prompt])[0]
        return replace(states, branches=branches, prompts=prompts), logits

    def templates(self, request: Request) -> dict[str, Template]:
        """Return the prompts of a request as token ids.

        Raises:
            InputError: there is no tokenizer to read them with.
        """
        if request.prompts and self.prompt_tokenizer is None:
            prompt = next(iter(request.prompts))
            raise InputError(f"{self.name}: has no tokenizer to read the prompt {prompt!r} with; wrap it with one")
        return (
            {}
            if self.prompt_tokenizer is None
            else {prompt: self.prompt_tokenizer.template(prompt) for prompt in request.prompts}
        )

    def check_prompts(self, request: Request) -> None:
        """Refuse prompts that leave no room for a text.

        Raises:
            InputError: there is no tokenizer to read them with.
            HeadError: a prompt as long as the most that the backbone reads.
        """
        for prompt, template in self.templates(request).items():
            taken = template.added + len(template.opening) + len(template.closing)
            if template.limit is not None and taken >= template.limit:
                raise HeadError(
                    f"{self.name}: the prompt {prompt!r:.60} takes {taken} of {template.limit} tokens and leaves no "
                    "room for a text; shorten it"
                )

    @cached_property
    def _extends_cache(self) -> bool:
        return self.facts.causal and can_extend_cache(self.stack)

    def _passes(self, arranged: RightPadded, request: Request, lm: bool) -> Passes:
        """Return how the prompts of a request are read."""
        templates, layers = self.templates(request), len(self.facts.widths)
        apart = Passes.apart(self.stack, layers, templates, request.prompts)
        # Where gradients are recorded nothing is shared: what is kept for the backward would be the same, and
        # checkpointed blocks keep no cache.
        if not templates or torch.is_grad_enabled():
            return apart
        shared = apart.shared(arranged, plain=lm or not request.trunk.empty)
        return shared if shared.sharing and self._extends_cache else apart

    def branch(self, name: str) -> Branch:
        """Return a branch by its name.

        Raises:
            BackboneError: there is none of that name.
        """
        if name not in self.branches:
            raise BackboneError(f"{self.name}: has no branch {name!r}, but {listed(list(self.branches))}")
        return cast(Branch, self.branches[name])

    def free_name(self, base: str) -> str:
        """Return a name that no branch has: ``base``, or that with a number."""
        names = [base, *(f"{base}{number}" for number in range(2, len(self.branches) + 3))]
        return next(name for name in names if name not in self.branches)

    def fork(self, top: int) -> ForkBranch:
        """Return a new fork of the top blocks, not yet among the branches.

        Raises:
            BackboneError: the stack has fewer blocks, or none that can be told apart.
        """
        refused = poolers.in_class(self.stack) and bool(self._pooler_refusal())
        unread = cast(nn.Module, self.stack.pooler) if refused else None
        return ForkBranch(self.stack, self.pooler, len(self.facts.widths), top, unread)

    def lora_targets(self, targets: str | Sequence[str]) -> tuple[str, ...]:
        """Return the linear layers that adapters are to stand in; see :func:`targets_of`.

        Raises:
            BackboneError: no layer of such a name, or one that no adapter can stand in.
        """
        return targets_of(self.stack, self._stack_path, len(self.facts.widths), targets)

    def lora(self, low_rank: LoRASettings, seed: int = 0) -> LoRABranch:
        """Return a new copy of the stack with adapters, not yet among the branches.

        Args:
            low_rank: What the adapters are, at layers that :meth:`lora_targets` named.
            seed: For the matrices that start at random.

        Raises:
            BackboneError: PEFT adapts no such layer.
            MissingExtraError: PEFT is not installed.
        """
        return LoRABranch(self.stack, self.pooler, len(self.facts.widths), self._stack_path, low_rank, seed)

    def build_branch(self, kind: str, settings: Mapping[str, Any]) -> Branch:
        """Return a branch as it was before it learned, from what :meth:`Branch.settings` said.

        Raises:
            BackboneError: an unknown kind, or settings that this backbone contradicts.
        """
        if kind == LoRABranch.kind:
            low_rank = LoRASettings.read(settings)
            return self.lora(replace(low_rank, targets=self.lora_targets(low_rank.targets)))
        top = settings.get("top")
        if kind != ForkBranch.kind or set(settings) != {"top"} or type(top) is not int or top < 1:
            raise BackboneError(f"{self.name}: cannot build a branch {kind!r} with {dict(settings)!r:.200}")
        return self.fork(top)

    def adapter_named(self, name: str | None) -> str:
        """Return the name of the branch with adapters that is meant: the only one, where none is named.

        Raises:
            BackboneError: there is none, or several and none is named.
        """
        names = [found for found, branch in self.branches.items() if isinstance(branch, LoRABranch)]
        if name in names or (name is None and len(names) == 1):
            return name or names[0]
        asked = "which adapter is meant must be said" if name is None else f"has no adapter {name!r}"
        raise BackboneError(f"{self.name}: {asked}; its adapters: {listed(names)}")

    def learn_tokens(self, tokens: Mapping[int, Sequence[int]]) -> None:
        """Give new tokens rows in the embeddings, and in the language model's head; branches share them.

        Args:
            tokens: New token id -> ids of the tokens whose rows' mean it starts from.

        Raises:
            BackboneError: weights that are quantised, or that cannot be resized.
        """
        if self.quantized:
            raise BackboneError(
                f"{self.name}: its weights are quantised, so no token can be added; load it unquantised"
            )
        before = named_by_identity(self.model)
        grow(self.model, tokens)
        follow(self.branches.values(), self.model, before)
        self._lm_head = None
        if "facts" in self.__dict__:
            self.__dict__["facts"] = replace(self.facts, vocabulary_size=self.vocabulary_size)
        self.new_tokens += len(tokens)
        # Whatever its bits say now, the source's files do not hold the tokenizer that goes with them.
        self._loaded_digest = None

    def merge(self, name: str) -> None:
        """Fold a branch's adapters into the backbone's own weights, and let go of the branch.

        Raises:
            BackboneError: no such branch, one without adapters, or weights that cannot be added to.
        """
        branch = self.branch(name)
        if not isinstance(branch, LoRABranch):
            raise BackboneError(f"{self.name}: branch {name!r} is a {branch.kind}, which has no adapter to merge")
        if self.quantized:
            raise BackboneError(f"{self.name}: its weights are quantised, so no adapter can be added to them")
        branch.fold()
        del self.branches[name]

    def resume_from_states(self, batch: Batch, name: str, request: Request, entry: Tensor) -> States:
        """Run a fork alone, from hidden states below it.

        Args:
            batch: Right-padded.
            name: The fork's.
            request: What the taps need of it, at no layer below.
            entry: (rows, tokens, width) hidden states that enter it.
        """
        fork = self.branch(name)
        assert isinstance(fork, ForkBranch)
        arranged = right_pad(batch)
        entry = entry.to(next(fork.stack.parameters()).dtype)
        states = fork.resume_from_states(arranged, request, {fork.entry: entry})
        return States({}, arranged.mask, arranged.batch.input_ids, branches={name: states})

    def _divided(self, request: Request, lm: bool) -> tuple[list[str], list[str]]:
        """Return the branches that go on from the backbone's own pass, and those that run whole: one alone is as
        cheap run whole, and then the backbone itself need not run."""
        able = [name for name, wanted in request.branches.items() if self.branch(name).entry_layers(wanted)]
        runs = lm or not request.trunk.empty or len(able) > 1
        together = able if runs else []
        return together, [name for name in request.branches if name not in together]

    def _trunk_request(self, request: Request, together: Sequence[str]) -> Request:
        layers = [self.branch(name).entry_layers(request.branches[name]) for name in together]
        return Request(request.layers.union(*layers), request.pooled)

    def _trunk(
        self, arranged: RightPadded, request: Request, lm: bool, keep: bool = False
    ) -> tuple[States, Tensor | None, Any]:
        """Return the states, the language model's logits if wanted, and the key-value cache if it is to be kept."""
        if request.empty and not lm:
            return States({}, arranged.mask, arranged.batch.input_ids), None, None
        runner = self._runner(lm)
        inputs = arranged.batch.inputs()
        settings = forward_settings(runner, hidden_states=bool(request.layers - {-1}))
        settings |= {"use_cache": True} if keep else {}
        if runner is self.stack:
            output = runner(**inputs, **settings)
            return self._states(output, arranged, request), None, output.past_key_values if keep else None
        with _recorded(self.stack) as record:
            output = runner(**inputs, **settings)
        logits: Tensor = output.logits
        if "decoder_input_ids" not in inputs:
            logits = arranged.restore(logits)
        past = output.past_key_values if keep else None
        return self._states(record["output"], arranged, request), logits, past

    def _runner(self, lm: bool) -> nn.Module:
        """Return what has to run: without logits to compute, the vocabulary's product is saved."""
        if not lm:
            return self.stack
        if self.lm is None:
            raise NoLanguageModelError(f"{self.name}: holds no language model; call without lm=True")
        return self.lm

    def _check_inputs(self, batch: Batch, runner: nn.Module) -> None:
        given = batch.inputs()
        unknown = sorted(set(given) - forward_arguments(runner) - {"attention_mask"})
        if unknown:
            raise InputError(f"{self.name}: takes no {listed(unknown)}; leave it out")
        if self.model.config.is_encoder_decoder and runner is self.model and "decoder_input_ids" not in given:  # type: ignore[union-attr]
            raise InputError(f"{self.name}: lm=True needs decoder_input_ids, which its decoder reads; give them")

    def _check_ids(self, ids: Tensor) -> None:
        if self._table_limit is not None and ids.shape[1] > self._table_limit:
            raise InputError(f"{self.name}: a row has {ids.shape[1]} tokens, the limit is {self._table_limit}; cut it")
        vocabulary = self.vocabulary_size
        if not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            raise InputError(
                f"{self.name}: input_ids reach from {int(ids.min())} to {int(ids.max())}, its vocabulary from 0 to "
                f"{vocabulary - 1}; is this the backbone's own tokenizer?"
            )

    def _states(self, output: Any, arranged: RightPadded, request: Request) -> States:
        return states_of(output, arranged, request, self.pooler, len(self.facts.widths))

    def _pooler_refusal(self) -> str:
        if self.pooler is not None:
            return ""
        if not poolers.in_class(self.stack):
            return _NO_POOLER
        if self._random_pooler:
            return "its files hold none, and the one in memory is random"
        if poolers.looks_untrained(self.stack):
            return "the one in memory is as initialised, never trained"
        return ""

    def _pooler_width(self, hidden: int) -> int:
        module = self.pooler if self.pooler is not None else self.stack.pooler
        sizes = [part.out_features for part in module.modules() if isinstance(part, nn.Linear)]  # type: ignore[union-attr]
        return sizes[-1] if sizes else hidden


def _as_dtype(parameter: nn.Parameter, dtype: torch.dtype) -> nn.Parameter:
    if not parameter.is_floating_point():
        return parameter
    return nn.Parameter(parameter.detach().to(dtype), requires_grad=False)


@contextmanager
def _recorded(stack: nn.Module) -> Iterator[dict[str, Any]]:
    """Keep the stack's own output of the forward inside, by a hook that is gone afterwards."""
    record: dict[str, Any] = {}
    handle = stack.register_forward_hook(lambda _module, _inputs, output: record.update(output=output))
    try:
        yield record
    finally:
        handle.remove()
