"""Zero-shot heads for questions that no trained head answers."""

from __future__ import annotations

from collections import OrderedDict

import torch

from manyheads.core import HeadedCore
from manyheads.errors import HeadError
from manyheads.heads import Head
from manyheads.heads.kinds.multiclass import Multiclass
from manyheads.server.served import Served
from manyheads.server.systemone.prompts import PromptedQuestion
from manyheads.taps import Hidden

# Least distance between the weights of two options, relative to the largest; equal weights give equal scores.
_DISTINCT = 1e-4


class ZeroShotHeads:
    """The zero-shot heads of the last questions, so that a repeated question is not calibrated again.

    Only the engine's thread uses it.

    Args:
        most: Number of heads that are kept.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._heads: OrderedDict[tuple[str, PromptedQuestion], Head] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heads)

    def of(self, served: Served, question: PromptedQuestion) -> Head:
        """Return the head of a question.

        Raises:
            HeadError: the language model cannot answer it.
        """
        key = served.fingerprint, question
        head = self._heads.pop(key, None)
        self._heads[key] = zero_shot_head(served.core, question) if head is None else head
        while len(self._heads) > self._most:
            self._heads.popitem(last=False)
        return self._heads[key]


def zero_shot_head(core: HeadedCore, question: PromptedQuestion) -> Head:
    """Return a head whose logits are those of the options' words as the next token, minus those for an empty state.

    If the tokenizer does not tell the words apart, all options are listed in the prompt, and their marks are the words.

    Raises:
        HeadError: the prompt leaves no room for the state, the tokenizer tells no marks apart, or the language model
            predicts no next token.
    """
    try:
        head = _built(core, question)
        if _are_distinct(head):
            return head
    except HeadError:
        pass  # so may the head with marks, and then its error says why
    head = _built(core, question.listed())
    if not _are_distinct(head):
        raise HeadError("The tokenizer of this language model does not tell the options apart; give other names")
    return head


def _built(core: HeadedCore, question: PromptedQuestion) -> Head:
    words = {place: option.words for place, option in enumerate(question.options)}
    reads = Hidden(pool="last", prompt=question.prompt)
    spec = Multiclass(list(words), reads=reads, zero_shot=True, label_words=words)
    return core.start_head(core.build_head(spec))


def _are_distinct(head: Head) -> bool:
    weights = head.output.weight.detach()
    distances = torch.cdist(weights, weights) + torch.eye(len(weights), device=weights.device) * weights.norm()
    return bool(distances.min() > _DISTINCT * weights.norm(dim=1).max())
