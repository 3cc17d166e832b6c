"""The backbone: a Hugging Face model that serves heads and language model in one forward pass."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from manyheads.backbone import pooler as poolers
from manyheads.backbone.branches.branches import Branches
from manyheads.backbone.facts import observe_facts
from manyheads.backbone.forward import ForwardPass, run_branch_from_states
from manyheads.backbone.generating import GeneratingPass, changes_while_generating, left_padding_is_exact
from manyheads.backbone.identity.digest import tensors_digest
from manyheads.backbone.identity.identity import Origin, Provenance
from manyheads.backbone.identity.source import Source
from manyheads.backbone.join_states import Joiner
from manyheads.backbone.limits import table_limit
from manyheads.backbone.merged import has_adapters, merged_copy
from manyheads.backbone.pooler import SeparatePooler
from manyheads.backbone.precision import converted_copy, is_in_precision, is_quantized
from manyheads.backbone.row_groups import RowGroups, length_threshold, observe_row_groups, stricter
from manyheads.backbone.stack.find import find_blocks, find_stack
from manyheads.backbone.stack.layer_reader import LayerReader, observe_reader
from manyheads.backbone.stack.lm_head import CachedLMHead, LMHead, lm_reads_stack
from manyheads.backbone.stack.module_state import ModuleState, kept_state
from manyheads.backbone.stack.probe import evaluating, forward_settings
from manyheads.backbone.stack.prompts import PromptTokenizer, prompt_templates
from manyheads.backbone.stack.right_padding import right_pad
from manyheads.backbone.trunk import Trunk
from manyheads.backbone.vocabulary import add_rows, names_by_identity, share_again, vocabulary_size
from manyheads.errors import BackboneError, BatchingWarning, NoLanguageModelError
from manyheads.runtime.progress import spinner
from manyheads.types import BackboneFacts, Batch, Request, States, Template, WordPieces


class Backbone(nn.Module):
    """A Hugging Face model, used as it is.

    Args:
        model: The model, with its own LM head if it has one; never rebuilt.
        provenance: The origin of its weights; by default a model object made in memory.
        pooler: A trained pooler that the checkpoint contains and the model's class leaves out.
        random_pooler: Whether the class's own pooler was initialized at random while loading.
        facts: The facts that taps depend on, if observed before.
        row_groups: The rows that may be computed together, if observed before.
        changes: Whether a pass replaces modules, and whether it changes anything, if observed before.
        reader: Reads hidden states by layer, if observed before.
        prompt_tokenizer: Tokenizes prompts and label words, if there is a tokenizer.
        token_budget: Fastest number of tokens per batch on this machine, if measured.

    Attributes:
        branches: Branch name -> a second way through the stack that only heads read.
    """

    def __init__(
        self,
        model: nn.Module,
        provenance: Provenance | None = None,
        pooler: SeparatePooler | None = None,
        random_pooler: bool = False,
        *,
        facts: BackboneFacts | None = None,
        row_groups: RowGroups | None = None,
        changes: tuple[bool, bool] | None = None,
        reader: LayerReader | None = None,
        prompt_tokenizer: PromptTokenizer | None = None,
        token_budget: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.pooler = pooler
        self.branches = Branches(type(model).__name__)
        self.provenance = provenance or Provenance()
        self.prompt_tokenizer = prompt_tokenizer
        self.token_budget = token_budget
        self._random_pooler = random_pooler
        self._facts = facts
        self._row_groups = row_groups
        self._changes = changes
        self._reader = reader
        self._lm_head = CachedLMHead()

    def with_model(self, model: nn.Module) -> Backbone:
        """Return a backbone around a changed model of the same class, whose weights are in no file."""
        provenance = replace(self.provenance, loaded_digest=None)
        return Backbone(model, provenance, self.pooler, self._random_pooler)

    def without_adapters(self) -> Backbone:
        """Return a backbone with PEFT adapters merged into a copy of its weights; itself if it has none."""
        return self.with_model(merged_copy(self.model)) if has_adapters(self.model) else self

    def use_prompt_tokenizer(self, tokenizer: PromptTokenizer | None) -> None:
        """Tokenize prompts and label words with this tokenizer from now on."""
        self.prompt_tokenizer = tokenizer

    def use_token_budget(self, tokens: int | None) -> None:
        """Put this many tokens in a batch from now on; measure it again for ``None``."""
        self.token_budget = tokens

    def use_origin(self, origin: Origin) -> None:
        """Record the origin of the weights in its source, a saved model."""
        self.provenance = replace(self.provenance, source_origin=origin)

    @property
    def name(self) -> str:
        """The model's class, for messages."""
        return type(self.model).__name__

    @property
    def source(self) -> Source | None:
        """The checkpoint it was loaded from, or ``None``."""
        return self.provenance.source

    @cached_property
    def _stack_path(self) -> str:
        stack = find_stack(self.model)
        paths: dict[nn.Module, str] = {module: name for name, module in self.model.named_modules()}
        return paths[stack]

    @property
    def stack(self) -> nn.Module:
        """The module whose hidden states heads read."""
        return self.model.get_submodule(self._stack_path)

    @cached_property
    def trunk(self) -> Trunk:
        """The stack, to be run or copied."""
        return Trunk(self.model, self._stack_path, self.reader, self.facts.causal, self.pooler, self._random_pooler)

    @property
    def reader(self) -> LayerReader:
        """Reads the stack's hidden states by layer; observed on first use, in two small forward passes."""
        if self._reader is None:
            self._reader = observe_reader(self.stack, len(self.facts.widths))
        return self._reader

    @property
    def facts(self) -> BackboneFacts:
        """The facts that taps depend on; observed on first use, in one forward pass over eight tokens."""
        if self._facts is None:
            # A function, not a bound method: copying a head must not copy the backbone.
            lm_head = (lambda states: self.lm_head(states)) if lm_reads_stack(self.model) else None
            with kept_state(self.model):
                self._facts = observe_facts(self.model, self.stack, self.pooler, self._random_pooler, lm_head)
            _ = self.row_groups, self.reader  # all small passes at once
        # Not kept: a copy of the backbone must ask its own tokenizer.
        return replace(self._facts, word_pieces=lambda: self.word_pieces)

    @property
    def row_groups(self) -> RowGroups:
        """The rows of a batch that may be computed together; observed on first use, in small forward passes."""
        if self._row_groups is None:
            limits = [limit for limit in (table_limit(self.model), length_threshold(self.stack)) if limit]
            with evaluating(self.model), kept_state(self.model):
                groups = observe_row_groups(
                    self._last_states, self.vocabulary_size, min(limits, default=None), self.device, self.name
                )
            self._row_groups = stricter(groups, self.replaces_modules, length_threshold(self.stack))
            if self.row_groups_note:
                warnings.warn(self.row_groups_note, BatchingWarning, stacklevel=2)
        return self._row_groups

    @property
    def row_groups_note(self) -> str:
        """A sentence for the user if not all rows can be computed together, else empty."""
        note = self.row_groups.note
        return f"{self.name}: {note}" if note else ""

    @property
    def replaces_modules(self) -> bool:
        """Whether a forward pass over a short text replaces some of its modules."""
        return self._observed_changes()[0]

    @property
    def changes_itself(self) -> bool:
        """Whether a forward pass changes more than its output, so that the model must be restored after each."""
        return self._observed_changes()[1] or length_threshold(self.stack) is not None

    def _observed_changes(self) -> tuple[bool, bool]:
        """Return whether a short pass replaces modules, and whether it changes anything."""
        if self._changes is None:
            with evaluating(self.model), kept_state(self.model):
                before = ModuleState(self.model)
                ids = torch.arange(4, device=self.device).unsqueeze(0) % self.vocabulary_size
                self._last_states(ids, torch.ones_like(ids))
                self._changes = before.has_other_modules, before.is_changed
        return self._changes

    def _kept(self, module: nn.Module) -> AbstractContextManager[None]:
        return kept_state(module) if self.changes_itself else nullcontext()

    def _last_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        settings = forward_settings(self.stack, hidden_states=False)
        states: Tensor = self.stack(input_ids=ids, attention_mask=mask, **settings).last_hidden_state
        return states

    @property
    def lm_head(self) -> LMHead:
        """The LM head without the stack.

        Raises:
            NoLanguageModelError: no LM head reads the stack.
            BackboneError: the LM head cannot be run on its own.
        """
        if not lm_reads_stack(self.model):
            raise NoLanguageModelError(f"{self.name}: has no LM head on the hidden states that heads read")
        return self._lm_head.of(self.model, self.stack)

    @property
    def word_pieces(self) -> WordPieces | None:
        """The part of each token of the tokenizer's vocabulary in words, or ``None`` without a tokenizer."""
        return None if self.prompt_tokenizer is None else self.prompt_tokenizer.vocabulary_pieces()

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids that it has embeddings for."""
        return vocabulary_size(self.model)

    def blocks(self) -> nn.ModuleList:
        """Return the stack's blocks, the lowest first.

        Raises:
            BackboneError: its layers are not a list of blocks.
        """
        return find_blocks(self.stack, len(self.facts.widths) - 1)

    @property
    def lm(self) -> nn.Module | None:
        """The model if it has an LM head, else ``None``."""
        return self.model if self.model.get_output_embeddings() is not None else None  # type: ignore[operator]

    @property
    def quantized(self) -> bool:
        """Whether some of its weights are quantized and so cannot be trained."""
        return is_quantized(self.model)

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.model.parameters()).device

    def file_tensors(self) -> dict[str, Tensor]:
        """Return the tensors to save: the model's and a separate pooler's, without an untrained pooler."""
        return poolers.file_tensors(self.model, self._stack_path, self.pooler, self._random_pooler)

    def mark_saved(self, source: Source, digest: str) -> None:
        """Record that the tensors with this ``digest`` were just written to the source's files."""
        self.provenance = self.provenance.saved_to(source, digest)

    def digest(self) -> str:
        """Return the fingerprint of every tensor of the model in memory; expensive, as it reads them all."""
        self.check_values()
        with spinner("Hashing weights"):
            return tensors_digest(self.model)

    def check_values(self) -> None:
        """Check that its weights have values.

        Raises:
            BackboneError: they are on the meta device.
        """
        if self.device.type == "meta":
            raise BackboneError(f"{self.name}: its weights are on the meta device and have no values; load it again")

    @property
    def generates(self) -> bool:
        """Whether the model generates text."""
        return bool(self.model.can_generate())  # type: ignore[operator]

    def check_generates(self) -> None:
        """Check that the model generates text.

        Raises:
            NoLanguageModelError: it does not.
        """
        if not self.generates:
            raise NoLanguageModelError(f"{self.name}: does not generate text; load a generating model")

    def in_precision(self, dtype: torch.dtype) -> Backbone:
        """Return a backbone with the stack's parameters in this precision, or itself if they are in it already.

        All other tensors are shared, so the copy needs memory only for the converted weights.
        """
        if is_in_precision(self.stack, dtype):
            return self
        return Backbone(
            converted_copy(self.model, self.stack, dtype),
            self.provenance,
            None if self.pooler is None else copy.deepcopy(self.pooler).to(dtype),
            self._random_pooler,
            facts=self.facts,
            row_groups=self.row_groups,
            changes=self._changes,
            reader=self.reader,
            prompt_tokenizer=self.prompt_tokenizer,
            token_budget=self.token_budget,
        )

    def forward(self, batch: Batch, request: Request, lm: bool = False) -> tuple[States, Tensor | None]:
        """Run the stack, branches and prompts that a request needs, each once; see ``ForwardPass``.

        Args:
            batch: Token tensors, padded anywhere.
            request: The states that taps need.
            lm: Whether to return the language model's logits too, from the same pass.

        Returns:
            The right-padded states, and the logits (rows, tokens, vocabulary) in the caller's layout or ``None``.
        """
        self.check_values()
        run = self._forward_pass
        groups = self.row_groups.of(batch.attention_mask.sum(dim=1))
        if len(groups) < 2:
            return run(batch, request, lm)
        states, logits = zip(*(run(batch.rows(rows), request, lm) for rows in groups), strict=True)
        joiner = Joiner(groups)
        return joiner.states(states), joiner.tensors(logits) if lm else None

    @property
    def _forward_pass(self) -> ForwardPass:
        return ForwardPass(self.trunk, self.branches, self.templates, self._kept)

    @property
    def generation(self) -> GeneratingPass:
        """The model's own ``generate``, whose prefill yields states.

        Raises:
            NoLanguageModelError: the model does not generate text.
        """
        self.check_values()
        self.check_generates()
        return GeneratingPass(self._forward_pass, self.row_groups, lambda: self._left_padding_is_exact)

    @cached_property
    def _left_padding_is_exact(self) -> bool:
        return left_padding_is_exact(self._forward_pass, self.row_groups)

    @cached_property
    def can_interleave(self) -> bool:
        """Whether forward passes between two tokens of a generation change neither it nor themselves.

        They do in a model that keeps state in its modules while it runs or generates. Observed on first use, in
        generations of three tokens.
        """
        self.check_generates()
        return not self.changes_itself and not changes_while_generating(self.model)

    def resume_from_states(self, batch: Batch, name: str, request: Request, entry: Tensor) -> States:
        """Run one branch alone, from hidden states below it; see ``run_branch_from_states``."""
        branch = self.branches.named(name)
        groups = self.row_groups.of(batch.attention_mask.sum(dim=1))
        parts = [batch] if len(groups) < 2 else [right_pad(batch.rows(rows)).batch for rows in groups]
        entries = [entry] if len(groups) < 2 else [entry[rows.to(entry.device)] for rows in groups]
        states = []
        for part, below in zip(parts, entries, strict=True):
            with self._kept(branch):
                states.append(run_branch_from_states(branch, name, part, request, below[:, : part.input_ids.shape[1]]))
        return states[0] if len(states) == 1 else Joiner(groups).states(states)

    def templates(self, request: Request) -> dict[str, Template]:
        """Return the prompts of a request as token ids.

        Raises:
            InputError: there is no tokenizer.
        """
        return prompt_templates(self.prompt_tokenizer, request.prompts, self.name)

    def add_token_rows(self, tokens: Mapping[int, Sequence[int]]) -> None:
        """Add rows for new tokens to the embeddings and the LM head; branches share them.

        Args:
            tokens: New token id -> ids of existing tokens; the new row is the mean of their rows.

        Raises:
            BackboneError: quantized weights, or embeddings that cannot be resized.
        """
        if self.quantized:
            raise BackboneError(
                f"{self.name}: its weights are quantized, so no token can be added; load it unquantized"
            )
        before = names_by_identity(self.model)
        add_rows(self.model, tokens)
        share_again(self.branches.values(), self.model, before)
        self._lm_head = CachedLMHead()
        if self._facts is not None:
            self._facts = replace(self._facts, vocabulary_size=self.vocabulary_size)
        self.provenance = self.provenance.with_new_tokens(len(tokens))

    def merge(self, name: str) -> None:
        """Merge a branch's adapters into the backbone's own weights and remove the branch.

        Raises:
            BackboneError: no such branch, a branch without adapters, or quantized weights.
        """
        adapter = self.branches.adapter(name)
        if self.quantized:
            raise BackboneError(
                f"{self.name}: its weights are quantized, so no adapter can be merged; keep the adapter"
            )
        adapter.fold()
        del self.branches[name]
