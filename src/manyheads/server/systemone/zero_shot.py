"""Zero-shot heads for questions that no trained head answers."""

from __future__ import annotations

from collections import OrderedDict

import torch

from manyheads.backbone.stack.prompts import PromptTokenizer
from manyheads.core import HeadedCore
from manyheads.core.lm_init import label_rows
from manyheads.errors import HeadError
from manyheads.heads import Head
from manyheads.heads.kinds.multiclass import Multiclass
from manyheads.server.served import Served
from manyheads.server.systemone.prompts import PromptedQuestion
from manyheads.taps import Hidden

# Least distance between the weights of two options, as a share of the length of the LM head's rows. Equal weights give
# equal scores.
_DISTINCT = 1e-4
# Number of rows of the LM head whose length is measured.
_MEASURED = 256
# About how much memory a head takes besides its weights.
_OBJECT_BYTES = 1 << 14


class ZeroShotHeads:
    """The zero-shot heads of the last questions, so that a repeated question is not calibrated again.

    Only the engine's thread uses it.

    Args:
        most_bytes: About how much memory the heads and their questions take at most.
    """

    def __init__(self, most_bytes: int = 1 << 26) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._heads: OrderedDict[tuple[str, PromptedQuestion], Head] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heads)

    def of(self, served: Served, question: PromptedQuestion) -> Head:
        """Return the head of a question.

        Raises:
            HeadError: the language model cannot answer it.
        """
        key = served.fingerprint, question
        if key in self._heads:
            self._heads.move_to_end(key)
            return self._heads[key]
        head = zero_shot_head(served.core, question)
        self._heads[key] = head
        self._bytes += _bytes_of(question, head)
        while self._bytes > self._most_bytes and len(self._heads) > 1:
            (_, oldest), dropped = self._heads.popitem(last=False)
            self._bytes -= _bytes_of(oldest, dropped)
        return head


def _bytes_of(question: PromptedQuestion, head: Head) -> int:
    return _OBJECT_BYTES + 4 * head.output.weight.numel() + 4 * len(question.prompt)


def zero_shot_head(core: HeadedCore, question: PromptedQuestion) -> Head:
    """Return a head whose logits are those of the options' words as the next token, minus those for an empty state.

    If the tokenizer does not tell the words apart, all options are listed in the prompt, and their marks are the words.

    Raises:
        HeadError: the prompt leaves no room for the state, or the tokenizer tells no marks apart.
    """
    for asked in (question, question.listed()):
        if _tells_apart(core, asked):
            return _built(core, asked)
    raise HeadError("The tokenizer of this language model does not tell the options apart; give other names")


def _tells_apart(core: HeadedCore, question: PromptedQuestion) -> bool:
    """Return whether the words of each option have tokens, and scores of their own."""
    words = [option.words for option in question.options]
    if not all(word.strip() for option in words for word in option):
        return False
    tokenizer, embeddings = _tokenizer(core), core.backbone.lm_head.output_embeddings()
    pieces = [[part for word in option for part in tokenizer.word_pieces(word)] for option in words]
    if not all(any(parts) for parts in pieces):
        return False
    length = embeddings[:_MEASURED].float().norm(dim=1).mean()
    return bool(torch.pdist(label_rows(embeddings, pieces)).min() > _DISTINCT * length)


def _built(core: HeadedCore, question: PromptedQuestion) -> Head:
    _check_room(core, question)
    words = {place: option.words for place, option in enumerate(question.options)}
    reads = Hidden(pool="last", prompt=question.prompt)
    return core.start_head(core.build_head(Multiclass(list(words), reads=reads, zero_shot=True, label_words=words)))


def _check_room(core: HeadedCore, question: PromptedQuestion) -> None:
    """Check that a prompt leaves room for the state, with a message that does not repeat the prompt."""
    template = _tokenizer(core).template(question.prompt)
    taken = template.added + len(template.opening) + len(template.closing)
    if template.limit is not None and taken >= template.limit:
        raise HeadError(f"A question needs {taken} of {template.limit} tokens and leaves no room for the state")


def _tokenizer(core: HeadedCore) -> PromptTokenizer:
    tokenizer = core.backbone.prompt_tokenizer
    assert tokenizer is not None  # a model without one is not served
    return tokenizer
