"""The trunk: the backbone's own stack, run alone or inside its language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from torch import Tensor, nn

from manyheads.backbone.limits import table_limit
from manyheads.backbone.pooler import SeparatePooler, in_class, missing_reason
from manyheads.backbone.stack.hooks import in_this_thread
from manyheads.backbone.stack.layer_reader import LayerReader
from manyheads.backbone.stack.probe import forward_arguments, forward_settings
from manyheads.backbone.stack.prompts import can_extend_cache
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.errors import InputError, NoLanguageModelError, listed
from manyheads.types import Batch, Request, States


@dataclass(frozen=True)
class TrunkOutput:
    """The output of one pass of the trunk.

    Attributes:
        states: The requested hidden states and pooler output.
        logits: The language model's logits (rows, tokens, vocabulary) in the caller's layout, if requested.
        cache: The key-value cache, if requested.
    """

    states: States
    logits: Tensor | None = None
    cache: Any = None


@dataclass(frozen=True)
class Trunk:
    """A backbone's own stack.

    Attributes:
        model: The Hugging Face model.
        path: Name of the stack in the model; empty if the model is the stack.
        reader: Reads hidden states by layer.
        causal: Whether a token attends only to earlier tokens.
        pooler: A trained pooler outside the model, or ``None``.
        random_pooler: Whether a pooler inside the stack was initialized at random while loading.
    """

    model: nn.Module
    path: str
    reader: LayerReader
    causal: bool
    pooler: SeparatePooler | None = None
    random_pooler: bool = False

    @property
    def name(self) -> str:
        """The model's class, for messages."""
        return type(self.model).__name__

    @property
    def stack(self) -> nn.Module:
        """The module whose hidden states heads read."""
        return self.model.get_submodule(self.path)

    @property
    def unread_pooler(self) -> nn.Module | None:
        """An untrained pooler inside the stack, or ``None``."""
        stack = self.stack
        untrained = in_class(stack) and missing_reason(stack, self.pooler, self.random_pooler)
        return cast(nn.Module, stack.pooler) if untrained else None

    @property
    def layers(self) -> int:
        """Number of hidden states, the embeddings' output included."""
        return self.reader.layers

    @cached_property
    def token_limit(self) -> int | None:
        """Number of tokens that the table of learned positions has room for; ``None`` without such a table."""
        return table_limit(self.model)

    @cached_property
    def extends_cache(self) -> bool:
        """Whether the stack can resume from its key-value cache; tried on a few tokens on first use."""
        return self.causal and can_extend_cache(self.stack)

    @property
    def has_lm(self) -> bool:
        """Whether the model has an LM head."""
        return self.model.get_output_embeddings() is not None  # type: ignore[operator]

    def check(self, batch: Batch, lm: bool) -> None:
        """Check that the model accepts a batch.

        Raises:
            InputError: a tensor that the model does not accept, or a missing one.
            NoLanguageModelError: ``lm`` without a language model.
        """
        if lm and not self.has_lm:
            raise NoLanguageModelError(f"{self.name}: has no language model; call it without lm=True")
        runner = self.model if lm else self.stack
        given = batch.inputs()
        unknown = sorted(set(given) - forward_arguments(runner) - {"attention_mask"})
        if unknown:
            raise InputError(f"{self.name}: does not accept {listed(unknown)}; leave it out")
        if self.model.config.is_encoder_decoder and runner is self.model and "decoder_input_ids" not in given:  # type: ignore[union-attr]
            raise InputError(f"{self.name}: lm=True needs decoder_input_ids for its decoder; pass them")

    def run(self, padded: RightPadded, request: Request, lm: bool = False, keep_cache: bool = False) -> TrunkOutput:
        """Run the stack up to the highest requested layer, or all of the language model if its logits are requested.

        Nothing runs for an empty request.

        Args:
            padded: A right-padded batch.
            request: Layers and pooler output to return.
            lm: Whether to return the language model's logits.
            keep_cache: Whether to return the key-value cache.
        """
        runner, inputs = self.model if lm else self.stack, padded.batch.inputs()
        outputs: list[Any] = []

        def run(hidden_states: bool) -> Any:
            settings = forward_settings(runner, hidden_states) | ({"use_cache": True} if keep_cache else {})
            with _recorded(self.stack) as record:
                outputs.append(runner(**inputs, **settings))
            return record["output"]

        states = self.reader.read(self.stack, run, padded, request, self.pooler, to_end=lm or keep_cache)
        logits: Tensor | None = None
        if lm:
            logits = outputs[-1].logits
            logits = logits if "decoder_input_ids" in inputs else padded.restore(logits)
        return TrunkOutput(states, logits, outputs[-1].past_key_values if keep_cache else None)


@contextmanager
def _recorded(stack: nn.Module) -> Iterator[dict[str, Any]]:
    """Record the stack's output during one forward pass."""
    record: dict[str, Any] = {}
    handle = stack.register_forward_hook(in_this_thread(lambda _module, _inputs, output: record.update(output=output)))
    try:
        yield record
    finally:
        handle.remove()
