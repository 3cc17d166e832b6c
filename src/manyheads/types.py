"""The values that travel between the parts: a batch, what a pass yields, what a call returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.utils.generic import ModelOutput

MISSING = -100


@dataclass(frozen=True)
class Batch:
    """The tensors of one forward, all (rows, tokens) integers; ``None`` where the caller gave none.

    Attributes:
        input_ids: Token ids.
        attention_mask: 1 for a real token, 0 for padding.
        token_type_ids: Segment of each token.
        position_ids: Position of each token, where the caller decides it.
        decoder_input_ids: What an encoder-decoder's decoder reads; its layout is its own.
        word_ids: Number of the word in its row that each token belongs to, -1 for none. Taps read it, the backbone does
            not; without it every real token is a word, numbered by where it stands.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None
    decoder_input_ids: Tensor | None = None
    word_ids: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Return what the backbone is given: the tensors that are present, by their transformers name."""
        return {name: tensor for name, tensor in self._tensors().items() if name != "word_ids"}

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self._tensors().items()})

    def words(self) -> Tensor:
        """Return (rows, words) booleans: which words have a token; without ``word_ids``, which tokens are real."""
        real = self.attention_mask.bool()
        if self.word_ids is None:
            return real
        places = self.word_ids.masked_fill(~real, -1)
        count = int(places.max()) + 1
        found = real.new_zeros((len(real), count + 1))
        return found.scatter(1, places.masked_fill(places < 0, count), True)[:, :count]

    def _tensors(self) -> dict[str, Tensor]:
        present = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: tensor for name, tensor in present.items() if tensor is not None}


@dataclass(frozen=True)
class WordIds:
    """Which word each token of a pass belongs to.

    Attributes:
        ids: (rows, tokens) int64: the word's number in its row, -1 for none.
        count: Number of words of the row with the most.
    """

    ids: Tensor
    count: int


@dataclass(frozen=True)
class Features:
    """What a tap yields for the rows of a batch.

    Attributes:
        values: (rows, width), or (rows, tokens, width) for a token tap, or (rows, words, width) for a word tap, or
            (rows, layers, width) for a mix, or the integer token ids (rows, tokens) themselves.
        mask: (rows, tokens) or (rows, words) booleans where there is such a dimension, else ``None``.
    """

    values: Tensor
    mask: Tensor | None = None

    def detached(self) -> Features:
        """Return the features cut off from the graph that made them."""
        return Features(self.values.detach(), self.mask)

    def to(self, device: torch.device) -> Features:
        """Return the features on ``device``."""
        return Features(self.values.to(device), None if self.mask is None else self.mask.to(device))

    def cpu(self) -> Features:
        """Return the features in main memory."""
        return self.to(torch.device("cpu"))

    def float(self) -> Features:
        """Return the features in fp32, the precision of every head; token ids stay integers."""
        return Features(self.values.float(), self.mask) if self.values.is_floating_point() else self


@dataclass(frozen=True)
class Request:
    """What a set of taps needs from one pass of the backbone.

    Attributes:
        layers: Indices into ``hidden_states``, negative, -1 being the stack's own last hidden state.
        pooled: Whether the trained pooler's output is needed.
        branches: Branch name -> what is needed of that branch's own pass.
        prompts: Prompt -> what is needed of a pass over the texts with the prompt around them.
    """

    layers: frozenset[int] = frozenset()
    pooled: bool = False
    branches: Mapping[str, Request] = field(default_factory=dict)
    prompts: Mapping[str, Request] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether no pass is needed at all."""
        return not self.layers and not self.pooled and not self.branches and not self.prompts

    @property
    def trunk(self) -> Request:
        """What is needed of the backbone itself."""
        return Request(self.layers, self.pooled)

    def __or__(self, other: Request) -> Request:
        branches = _joined(self.branches, other.branches)
        prompts = _joined(self.prompts, other.prompts)
        return Request(self.layers | other.layers, self.pooled or other.pooled, branches, prompts)


def _joined(one: Mapping[str, Request], other: Mapping[str, Request]) -> dict[str, Request]:
    none = Request()
    return {name: one.get(name, none) | other.get(name, none) for name in dict.fromkeys([*one, *other])}


@dataclass(frozen=True)
class States:
    """What one pass of the backbone yields, right-padded.

    Attributes:
        hidden: Layer index -> hidden states (rows, tokens, width).
        mask: (rows, tokens) booleans, true for a real token.
        input_ids: (rows, tokens) the token ids that the pass read; 0 where ``mask`` is false.
        pooled: The pooler's output (rows, width), if it was asked for.
        branches: Branch name -> what its own pass yields.
        prompts: Prompt -> what the pass with it yields, the prompt's own tokens included.
        words: Which word each token belongs to.
    """

    hidden: Mapping[int, Tensor]
    mask: Tensor
    input_ids: Tensor
    pooled: Tensor | None = None
    branches: Mapping[str, States] = field(default_factory=dict)
    prompts: Mapping[str, States] = field(default_factory=dict)
    words: WordIds | None = None


@dataclass(frozen=True)
class Template:
    """A prompt as token ids: ``opening``, ``before``, the text's own tokens, ``after``, ``closing``.

    Text and prompt are tokenised apart, so that where one ends is never in doubt and the text's tokens are those that
    it has alone.

    Attributes:
        before: Ids in front of the text.
        after: Ids behind it.
        opening: Special tokens with which the tokenizer begins every text.
        closing: Those with which it ends one.
        limit: Most tokens of a row, or ``None``; the text's end gives way.
        empty: The tokenizer's stand-in for a text without a token, which a prompt does not need.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    opening: tuple[int, ...] = ()
    closing: tuple[int, ...] = ()
    limit: int | None = None
    empty: tuple[int, ...] = ()

    @property
    def added(self) -> int:
        """Number of tokens that a text grows by."""
        return len(self.before) + len(self.after)


@dataclass(frozen=True)
class BackboneFacts:
    """What a tap may know of a backbone.

    Attributes:
        name: The model's class, for messages.
        widths: Size of each of the ``hidden_states``, the embeddings' output first: one more than blocks.
        causal: Whether a token sees only those before it.
        vocabulary_size: Number of token ids.
        pooler_width: Size of the trained pooler's output, or ``None`` where there is no trained pooler.
        no_pooler_reason: Why there is none, for the message.
        lm_head: From states (rows, width) of the last layer to the language model's fp32 logits (rows, vocabulary), or
            ``None`` where there is no language model that reads them.
    """

    name: str
    widths: tuple[int, ...]
    causal: bool
    vocabulary_size: int
    pooler_width: int | None = None
    no_pooler_reason: str = ""
    lm_head: Callable[[Tensor], Tensor] | None = None


@dataclass
class HeadedOutput(ModelOutput):  # type: ignore[misc]
    """What a forward returns.

    Attributes:
        loss: Sum over heads of ``loss_weight`` times loss, (); ``None`` where no labels were given.
        losses: Head name -> mean over its labelled cells, ().
        counts: Head name -> number of labelled cells.
        weights: Head name -> sum of the labelled cells' weights, (); ``losses`` are totals divided by them.
        logits: Head name -> (rows, outputs) fp32; of a token head (rows, words, outputs), where a word is a token, in
            the caller's layout, if no ``word_ids`` were given.
        lm_logits: The language model's logits (rows, tokens, vocabulary) in the caller's layout, on request.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    counts: dict[str, int] | None = None
    weights: dict[str, Tensor] | None = None
    logits: dict[str, Tensor] | None = None
    lm_logits: Tensor | None = None


@dataclass(frozen=True)
class Span:
    """A piece of a text that a token head labels.

    Attributes:
        start: Its first character.
        end: The character behind its last one: ``text[start:end]``.
        label: The label.
        score: Mean probability of what was predicted of its words.
    """

    start: int
    end: int
    label: object
    score: float


@dataclass(frozen=True)
class Prediction:
    """What one head says of one text. Fields that the head's kind does not have are ``None`` or empty.

    Attributes:
        label: The most probable label (multi-class), or the median one (ordinal).
        score: Its probability.
        scores: Label -> probability.
        labels: The labels whose probability reaches their threshold (multi-label).
        value: The predicted number (regression).
        spans: The labelled pieces of the text, in their order (tokens).
    """

    label: object = None
    score: float | None = None
    scores: Mapping[object, float] = field(default_factory=dict)
    labels: tuple[object, ...] = ()
    value: float | None = None
    spans: tuple[Span, ...] = ()


class Tokenizer(Protocol):
    """What a Hugging Face tokenizer offers, as far as it is used here; see ``transformers.PreTrainedTokenizerBase``."""

    all_special_tokens: list[str]
    all_special_ids: list[int]
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    unk_token_id: int | None
    is_fast: bool
    model_max_length: int

    def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the encoding of one text or of many."""

    def __len__(self) -> int:
        """Return the number of tokens, added ones included."""

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token."""

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens and return how many were new."""

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the id of a token, or the ids of several."""

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """Return the token of an id, or the tokens of several."""

    def decode(self, token_ids: Any) -> str:
        """Return the text of token ids."""

    def save_pretrained(self, save_directory: Any) -> Any:
        """Write the tokenizer's files to a folder."""
