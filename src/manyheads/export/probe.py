"""The texts on which exported files are compared with the model, and the model's own logits of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.data.texts.word_ids import words_of_tokens
from manyheads.export.linear import ExportedHead
from manyheads.inference import Scorer, ScoringSettings
from manyheads.runtime.progress import quietly

# A text, or a pair of texts.
Text = str | tuple[str, str]

# The largest difference of logits that is allowed, as a share of the largest logit where that is above 1.
TOLERANCE = 1e-5
SENTENCES = ("The delivery arrived two days late, but the support team solved it.", "Why does it not start?")
_SEED = 13
_SEVERAL_ROWS = (3, 9, 17, 30)


@dataclass(frozen=True)
class Probe:
    """Texts with the logits that an exported head has to give.

    Attributes:
        texts: The texts, of different lengths; pairs for a head that was trained on pairs.
        logits: fp32 (rows, outputs) of texts, or (words, outputs) of all words of all texts; divided by the
            temperature.
        words: For each text, the characters of its words; ``None`` for a head that reads whole texts.
        drift: Largest difference to the logits that the model itself gives, in the precision that it answers in.
    """

    texts: tuple[Text, ...]
    logits: Tensor
    words: Sequence[np.ndarray] | None
    drift: float

    @property
    def scale(self) -> float:
        """The largest logit."""
        return float(self.logits.abs().max())

    def agrees(self, logits: Tensor) -> bool:
        """Return whether logits equal the model's within the tolerance."""
        return self.difference(logits) <= TOLERANCE * max(1.0, self.scale)

    def difference(self, logits: Tensor) -> float:
        """Return the largest difference to the model's logits; infinite for another shape or NaN."""
        if logits.shape != self.logits.shape or not bool(logits.isfinite().all()):
            return float("inf")
        return float((logits - self.logits).abs().max())


def probe_of(core: HeadedCore, tokenizer: Any, head: ExportedHead) -> Probe:
    """Return texts and the head's logits of them, in fp32."""
    texts = probe_texts(tokenizer, head.reads_pairs)
    exact, words = _logits(core, tokenizer, head, texts, ScoringSettings(dtype="float32"))
    own, _ = _logits(core, tokenizer, head, texts, ScoringSettings())
    return Probe(texts, exact, words, float((exact - own).abs().max()))


def probe_texts(tokenizer: Any, pairs: bool = False) -> tuple[Text, ...]:
    """Return two sentences and texts of different lengths of the tokenizer's own tokens, or pairs of them."""
    special = set(tokenizer.all_special_ids)
    known = [token for token in range(len(tokenizer)) if token not in special]
    random = np.random.default_rng(_SEED)
    rows = [random.choice(known, size=min(length, _room(tokenizer))) for length in _SEVERAL_ROWS]
    decoded = [tokenizer.decode(row.tolist()) for row in rows]
    texts = [*SENTENCES, *(text for text in decoded if text.strip())]
    return tuple(zip(texts, reversed(texts), strict=True)) if pairs else tuple(texts)


def _room(tokenizer: Any) -> int:
    """Return a number of tokens that fits into every row, whatever tokens decoding and encoding add."""
    return max(1, min(int(tokenizer.model_max_length) // 4, max(_SEVERAL_ROWS)))


def _logits(
    core: HeadedCore, tokenizer: Any, head: ExportedHead, texts: Sequence[Text], settings: ScoringSettings
) -> tuple[Tensor, Sequence[np.ndarray] | None]:
    with quietly():
        predictions = Scorer(core, tokenizer, settings)(read_texts_from_list(list(texts)), [head.name])
    found = predictions.logits[head.name]
    by_word = head.head.spec.by_word
    values = np.concatenate(list(found)) if by_word else np.asarray(found)
    logits = torch.from_numpy(values.astype(np.float32)) / head.temperature
    return logits, predictions.words if by_word else None


def stock_logits(model: nn.Module, tokenizer: Any, probe: Probe) -> Tensor:
    """Return the logits of a stock classifier for the probe's texts, in the shape of the probe's.

    A word's logits are those of its first token.
    """
    with torch.no_grad():
        logits: Tensor = model(**encode(tokenizer, probe.texts).to(device_of(model))).logits.float().cpu()
    return logits if probe.words is None else rows_of_words(logits, tokenizer, probe)


def rows_of_words(values: Tensor, tokenizer: Any, probe: Probe) -> Tensor:
    """Return the values (words, ...) of the first token of each word, from those of all tokens (rows, tokens, ...)."""
    assert probe.words is not None
    spans = tokenizer(list(probe.texts), padding=True, truncation=True, return_offsets_mapping=True)["offset_mapping"]
    first = [_first_tokens(own, places) for own, places in zip(spans, probe.words, strict=True)]
    return torch.cat([values[row, positions] for row, positions in enumerate(first)]).cpu()


def encode(tokenizer: Any, texts: Sequence[Text]) -> Any:
    """Return the texts as one padded batch; each alone would do as well, but the padding has to be correct too."""
    sides = zip(*((text,) if isinstance(text, str) else text for text in texts), strict=True)
    return tokenizer(*map(list, sides), padding=True, truncation=True, return_tensors="pt")


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights."""
    return next(model.parameters()).device


def _first_tokens(spans: Sequence[tuple[int, int]], places: np.ndarray) -> list[int]:
    """Return the position of the first token of each word."""
    word_ids = np.array(words_of_tokens(spans, [tuple(place) for place in places.tolist()]))
    return [int((word_ids == word).argmax()) for word in range(len(places))]
