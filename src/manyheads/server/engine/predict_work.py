"""Predict the texts of several requests in one batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manyheads.data.texts.texts import Texts
from manyheads.errors import ManyheadsError
from manyheads.inference.answer_parts import answers_by_part
from manyheads.inference.flags import flags_of
from manyheads.server.engine.work import Work, tokens_of
from manyheads.server.served import Served
from manyheads.types import Prediction


@dataclass(frozen=True)
class AnsweredText:
    """The answers of the heads for one text.

    Attributes:
        predictions: Head name -> prediction.
        flag: ``"empty"``, ``"truncated"``, ``"split"`` or ``None``.
        tokens: Number of tokens of the text that were read.
    """

    predictions: Mapping[str, Prediction]
    flag: str | None
    tokens: int


# One per text: its answers, or why it has none.
AnsweredTexts = list[AnsweredText | ManyheadsError]


@dataclass(frozen=True, eq=False)
class PredictWork(Work[AnsweredTexts]):
    """Texts to predict.

    Attributes:
        texts: The texts.
        heads: Names of heads; ``None`` for all.
        long_text: What becomes of a text beyond the limit.
    """

    texts: Texts
    heads: tuple[str, ...] | None = None
    long_text: str = "truncate"

    @property
    def group(self) -> Hashable:
        """Works with the same heads and the same form of texts are predicted together."""
        return self.heads, self.long_text, _are_pairs(self.texts)

    @property
    def size(self) -> int:
        """About how many tokens the texts have."""
        return sum(tokens_of(text) if isinstance(text, str) else sum(map(tokens_of, text)) for text in self.texts.texts)

    @property
    def rows(self) -> int:
        """How many texts it has."""
        return len(self.texts)

    def run(self, served: Served, others: Sequence[Work[AnsweredTexts]]) -> list[AnsweredTexts | Exception]:
        """Predict the texts of all works; a text that cannot be answered costs no other its answer."""
        works = [self, *(work for work in others if isinstance(work, PredictWork))]
        texts = Texts.joined([work.texts for work in works])
        settings = replace(served.scorer.settings, long_text=self.long_text)
        scorer = served.scorer if settings == served.scorer.settings else served.scorer.with_settings(settings)
        answers: dict[int, AnsweredText | ManyheadsError] = {}
        for rows, answer in answers_by_part(lambda some: scorer(some, self.heads), texts):
            if isinstance(answer, ManyheadsError):
                answers[int(rows[0])] = answer
                continue
            tokens = answer.tokens.tolist()
            for row, own, flag, count in zip(rows.tolist(), answer, flags_of(answer), tokens, strict=True):
                answers[row] = AnsweredText(own, flag, count)
        ends = np.cumsum([len(work.texts) for work in works]).tolist()
        return [
            [answers[row] for row in range(end - len(work.texts), end)] for work, end in zip(works, ends, strict=True)
        ]


def _are_pairs(texts: Texts) -> bool:
    return any(not isinstance(text, str) for text in texts.texts)
