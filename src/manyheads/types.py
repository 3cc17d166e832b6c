"""The values passed between modules: batches, requests, states, features, outputs and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MISSING = -100


@dataclass(frozen=True)
class Batch:
    """The input tensors of one forward pass, all (rows, tokens) integers; ``None`` for those that were not passed.

    Attributes:
        input_ids: Token ids.
        attention_mask: 1 for a real token, 0 for padding.
        token_type_ids: Segment of each token.
        position_ids: Position of each token, if not the default.
        decoder_input_ids: Token ids (rows, decoder tokens) for the decoder of an encoder-decoder.
        word_ids: Number of the word in its row that each token belongs to, -1 for none; for taps, not the backbone.
            Without it, every real token is a word, numbered by its position.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None
    decoder_input_ids: Tensor | None = None
    word_ids: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Return the backbone's arguments: the tensors that were passed, by their names in transformers."""
        return {name: tensor for name, tensor in self._tensors().items() if name != "word_ids"}

    def rows(self, rows: Tensor) -> Batch:
        """Return some rows of the batch, by their numbers."""
        return replace(self, **{name: tensor[rows.to(tensor.device)] for name, tensor in self._tensors().items()})

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self._tensors().items()})

    def words(self) -> Tensor:
        """Return (rows, words) booleans: whether a word has tokens; without ``word_ids``, whether a token is real."""
        real = self.attention_mask.bool()
        if self.word_ids is None:
            return real
        ids = self.word_ids.masked_fill(~real, -1)
        count = int(ids.max()) + 1
        found = real.new_zeros((len(real), count + 1))
        return found.scatter(1, ids.masked_fill(ids < 0, count), True)[:, :count]

    def _tensors(self) -> dict[str, Tensor]:
        present = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: tensor for name, tensor in present.items() if tensor is not None}


@dataclass(frozen=True)
class WordIds:
    """The word that each token of a pass belongs to.

    Attributes:
        ids: (rows, tokens) int64, the word's number in its row, -1 for none.
        count: Largest number of words in a row.
    """

    ids: Tensor
    count: int


@dataclass(frozen=True)
class Features:
    """The output of a tap for the rows of a batch.

    Attributes:
        values: (rows, width), or (rows, tokens, width) for a token tap, or (rows, words, width) for a word tap, or
            (rows, layers, width) for a mix, or integer token ids (rows, tokens).
        mask: (rows, tokens) or (rows, words) booleans if there is such a dimension, else ``None``.
    """

    values: Tensor
    mask: Tensor | None = None

    def rows(self, rows: np.ndarray) -> Features:
        """Return the features of some rows, by their numbers."""
        import torch

        places = torch.from_numpy(rows)
        return Features(self.values[places], None if self.mask is None else self.mask[places])

    def detached(self) -> Features:
        """Return the features detached from the graph."""
        return Features(self.values.detach(), self.mask)

    def to(self, device: torch.device) -> Features:
        """Return the features on ``device``."""
        return Features(self.values.to(device), None if self.mask is None else self.mask.to(device))

    def cpu(self) -> Features:
        """Return the features in main memory."""
        import torch

        return self.to(torch.device("cpu"))

    def float(self) -> Features:
        """Return the features in fp32, the precision of all heads; token ids stay integers."""
        return Features(self.values.float(), self.mask) if self.values.is_floating_point() else self


@dataclass(frozen=True)
class Request:
    """The states that a set of taps needs from one pass of the backbone.

    Attributes:
        layers: Negative indices into ``hidden_states``; -1 is the stack's last hidden state.
        pooled: Whether the trained pooler's output is needed.
        branches: Branch name -> the states needed from that branch.
        prompts: Prompt -> the states needed from a pass over the texts with the prompt around them.
    """

    layers: frozenset[int] = frozenset()
    pooled: bool = False
    branches: Mapping[str, Request] = field(default_factory=dict)
    prompts: Mapping[str, Request] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is needed."""
        return not self.layers and not self.pooled and not self.branches and not self.prompts

    @property
    def trunk(self) -> Request:
        """The states needed from the backbone's own stack, without branches and prompts."""
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
    """The output of one pass of the backbone, right-padded.

    Attributes:
        hidden: Layer index -> hidden states (rows, tokens, width).
        mask: (rows, tokens) booleans, true for real tokens.
        input_ids: (rows, tokens) token ids; 0 where ``mask`` is false.
        pooled: The pooler's output (rows, width), if requested.
        branches: Branch name -> its states.
        prompts: Prompt -> the states of the pass with it, the prompt's own tokens included.
        words: The word that each token belongs to.
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

    Text and prompt are tokenized separately, so the text has the same tokens as without a prompt.

    Attributes:
        before: Token ids before the text.
        after: Token ids after the text.
        opening: Special tokens at the start of every text.
        closing: Special tokens at the end of every text.
        limit: Most tokens per row, or ``None``; longer texts are truncated at their end.
        empty: Token ids that represent an empty text; dropped inside a prompt.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    opening: tuple[int, ...] = ()
    closing: tuple[int, ...] = ()
    limit: int | None = None
    empty: tuple[int, ...] = ()

    @property
    def added(self) -> int:
        """Number of tokens added to each text."""
        return len(self.before) + len(self.after)

    def around(self, row: Sequence[int], after: bool = True) -> list[int]:
        """Return the token ids of one text with the prompt; a text that is too long is truncated at its end.

        Args:
            row: The token ids of the text, as the tokenizer encodes it.
            after: Whether to include the prompt's tokens after the text.
        """
        opening, closing = list(self.opening), list(self.closing)
        if tuple(row) == self.empty and self.added:
            row = ()
        start = len(opening) if list(row[: len(opening)]) == opening else 0
        end = len(row) - len(closing) if closing and list(row[-len(closing) :]) == closing else len(row)
        text = list(row[start : max(start, end)])
        if self.limit is not None:
            text = text[: max(self.limit - self.added - len(opening) - len(closing), 0)]
        suffix = [*self.after, *closing] if after else []
        return [*opening, *self.before, *text, *suffix]


@dataclass(frozen=True, eq=False)
class WordPieces:
    """The part of each token id of a tokenizer's vocabulary in words.

    A token continues the word of the token before it if it joins the last one and that one joins the next.

    Attributes:
        letters: (letters,) uint8, the UTF-8 of all tokens in lower case without spaces and marks, end to end.
        offsets: (ids + 1,) start of each token's letters, int64. Tokens without letters are in no word: punctuation,
            spaces and special tokens.
        joins_last: (ids,) booleans, whether a token may continue a word.
        joins_next: (ids,) booleans, whether its word may be continued.
    """

    letters: np.ndarray
    offsets: np.ndarray
    joins_last: np.ndarray
    joins_next: np.ndarray

    def __len__(self) -> int:
        return len(self.joins_last)


def no_word_pieces() -> WordPieces | None:
    """Return ``None``: there is no tokenizer."""
    return None


@dataclass(frozen=True)
class BackboneFacts:
    """The facts about a backbone that taps depend on.

    Attributes:
        name: The model's class, for messages.
        widths: Size of each of the ``hidden_states``, the embeddings' output first; one more than there are blocks.
        causal: Whether a token attends only to earlier tokens.
        vocabulary_size: Number of token ids.
        pooler_width: Size of the trained pooler's output, or ``None`` without a trained pooler.
        no_pooler_reason: Why there is no trained pooler, for error messages.
        lm_head: From states (rows, width) of the last layer to the language model's fp32 logits (rows, vocabulary), or
            ``None`` without an LM head on them.
        word_pieces: Returns the part of each token id in words, or ``None`` without a tokenizer.
    """

    name: str
    widths: tuple[int, ...]
    causal: bool
    vocabulary_size: int
    pooler_width: int | None = None
    no_pooler_reason: str = ""
    lm_head: Callable[[Tensor], Tensor] | None = None
    word_pieces: Callable[[], WordPieces | None] = no_word_pieces


@dataclass(frozen=True)
class Span:
    """A labelled span of a text, predicted by a token head.

    Attributes:
        start: Position of its first character.
        end: Position after its last character: the span is ``text[start:end]``.
        label: The label.
        score: Mean probability of its words' predicted labels.

    Examples:
        >>> span = mh.Span(start=11, end=16, label="symptom", score=0.9)
        >>> "reports of fever"[span.start : span.end]
        'fever'
    """

    start: int
    end: int
    label: object
    score: float


@dataclass(frozen=True, repr=False)
class Prediction:
    """One head's prediction for one text; fields that the head's kind does not have are ``None`` or empty.

    Attributes:
        label: The most probable label (multi-class) or the median label (ordinal), or, if the head's decision has
            costs, the label with the least expected cost.
        score: The probability of ``label``.
        scores: Label -> probability.
        labels: The labels whose probability reaches their threshold (multi-label), or one per word (plain tokens).
        value: The predicted number (regression).
        spans: The labelled spans of the text, in order (tokens).
        abstained: Whether the head abstains, since it is less sure than its decision demands; ``None`` if its decision
            does not say when to.
        set: The labels of the prediction set, in the order of the head's labels; ``None`` without sets.
        cost: The expected cost of ``label``; ``None`` without costs.

    Examples:
        >>> prediction = trained.predict(texts)[0]["urgency"]
        >>> prediction.label in ("routine", "urgent", "emergency")
        True
    """

    label: object = None
    score: float | None = None
    scores: Mapping[object, float] = field(default_factory=dict)
    labels: tuple[object, ...] = ()
    value: float | None = None
    spans: tuple[Span, ...] = ()
    abstained: bool | None = None
    set: tuple[object, ...] | None = None
    cost: float | None = None

    def __repr__(self) -> str:
        given = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "scores"}
        shown = [f"{name}={_short(value)}" for name, value in given.items() if value not in (None, ())]
        return f"Prediction({', '.join(shown) or 'labels=()'})"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


class Tokenizer(Protocol):
    """The part of ``transformers.PreTrainedTokenizerBase`` that is used here."""

    all_special_tokens: list[str]
    all_special_ids: list[int]
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    unk_token_id: int | None
    is_fast: bool
    model_max_length: int

    def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the encoding of one text or several."""

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

    def decode(self, token_ids: Any, skip_special_tokens: bool = False) -> str:
        """Return the text of token ids."""

    def save_pretrained(self, save_directory: Any) -> Any:
        """Write the tokenizer's files to a folder."""
