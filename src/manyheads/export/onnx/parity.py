"""Comparison of an exported graph with the model, on texts of the tokenizer's own tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.backbone.limits import token_limit
from manyheads.core import HeadedCore
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.export.probe import SENTENCES, Text
from manyheads.heads import Head, Ragged
from manyheads.inference import Predictions, Scorer, ScoringSettings
from manyheads.runtime.progress import quietly

# The largest difference of logits that is allowed, as a share of the largest logit where that is above 1.
TOLERANCE = 1e-4
_TEXTS = 200
_LONGEST = 160
_SEED = 17

# Predicts texts with some heads.
Predict = Callable[[list[Any], Sequence[str]], Predictions]


@dataclass(frozen=True)
class Parity:
    """How far the logits of one head move.

    Attributes:
        difference: Largest difference of a logit between the graph and the model in fp32.
        scale: The largest logit.
        drift: Largest difference of a logit between fp32 and the precision that the model answers in.
    """

    difference: float
    scale: float
    drift: float

    @property
    def holds(self) -> bool:
        """Whether the graph gives the model's logits."""
        return self.difference <= TOLERANCE * max(1.0, self.scale)


def compare(core: HeadedCore, tokenizer: Any, heads: Iterable[str], predict: Predict) -> dict[str, Parity]:
    """Compare a graph's logits with the model's on 200 texts: short and long ones, an empty one, and one that is cut.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        heads: Names of the heads.
        predict: Predicts with the graph.
    """
    found: dict[str, Parity] = {}
    for pairs, names in _by_pairs(core.heads.chosen(heads)).items():
        texts = parity_texts(tokenizer, token_limit(core.backbone.model, tokenizer), pairs)
        with quietly():
            exact = _own(core, tokenizer, ScoringSettings(dtype="float32"), texts, names)
            answered = _own(core, tokenizer, ScoringSettings(), texts, names)
            exported = predict(texts, names)
        for name in names:
            values = _values(exact, name)
            difference = _largest_difference(_values(exported, name), values)
            scale = float(np.abs(values).max(initial=0.0))
            found[name] = Parity(difference, scale, _largest_difference(_values(answered, name), values))
    return found


def parity_texts(tokenizer: Any, limit: int | None, pairs: bool = False) -> list[Text]:
    """Return 200 texts, or pairs of them: the empty one, sentences, and random tokens of many lengths, the last text
    beyond the limit if that is below 1,000 tokens."""
    special = set(tokenizer.all_special_ids)
    known = [token for token in range(len(tokenizer)) if token not in special]
    random = np.random.default_rng(_SEED)
    texts: list[str] = ["", *SENTENCES]
    lengths = np.geomspace(1, min(_LONGEST, limit or _LONGEST), _TEXTS - len(texts)).astype(int).tolist()
    if limit is not None and limit < 1000:
        lengths[-1] = limit + 10
    texts += [tokenizer.decode(random.choice(known, size=length).tolist()) for length in lengths]
    return list(zip(texts, random.permutation(texts).tolist(), strict=True)) if pairs else list(texts)


def _by_pairs(heads: Mapping[str, Head]) -> dict[bool, list[str]]:
    """Return the names of the heads by whether they were trained on pairs of texts."""
    groups: dict[bool, list[str]] = {}
    for name, head in heads.items():
        groups.setdefault(isinstance(head.summary.get("text"), list), []).append(name)
    return groups


def _own(
    core: HeadedCore, tokenizer: Any, settings: ScoringSettings, texts: Sequence[Text], names: Sequence[str]
) -> Predictions:
    return Scorer(core, tokenizer, settings)(read_texts_from_list(texts), names)


def _values(predictions: Predictions, name: str) -> np.ndarray:
    """Return a head's logits of all rows, or of all words of all rows."""
    logits = predictions.logits[name]
    return logits.values if isinstance(logits, Ragged) else np.asarray(logits)


def _largest_difference(values: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest difference; infinite for another shape or NaN."""
    if values.shape != exact.shape or not np.isfinite(values).all():
        return float("inf")
    return float(np.abs(values - exact).max(initial=0.0))
