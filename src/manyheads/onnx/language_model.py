"""The language model's logits, from a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from manyheads.data.texts.row_limit import row_limit
from manyheads.data.texts.tokenize import LONG_TEXT, Text, tokenize
from manyheads.heads import Ragged
from manyheads.heads.ragged import offsets_of
from manyheads.inference.settings import ScoringSettings
from manyheads.onnx.bags import Bags
from manyheads.onnx.inputs import Inputs
from manyheads.onnx.layout import Layout
from manyheads.onnx.runner import Runner
from manyheads.types import Tokenizer

LM_LOGITS = "lm_logits"


def read_lm_logits(
    runner: Runner,
    layout: Layout,
    tokenizer: Tokenizer,
    bags: Bags,
    texts: Sequence[Text],
    settings: ScoringSettings,
) -> Ragged:
    """Return the language model's logits, fp32 (tokens, vocabulary) per text.

    Args:
        runner: The graph.
        layout: What stands beside it.
        tokenizer: The backbone's own.
        bags: The bags of terms that heads read, which the graph computes too.
        texts: The texts; one beyond the limit is truncated, unless ``long_text="error"``.
        settings: The limit.

    Raises:
        InputError: a text beyond the limit with ``long_text="error"``.
    """
    limit = row_limit(settings.max_length, layout.limit)
    long_text = settings.long_text if settings.long_text in LONG_TEXT else "truncate"
    tokenized = tokenize(tokenizer, texts, limit, layout.accepted, long_text)
    lengths, found = tokenized.lengths, dict[int, np.ndarray]()
    for rows, outputs in runner.run(Inputs(layout, bags, tokenized, {0}), [LM_LOGITS]):
        found |= {row: logits[: lengths[row]] for row, logits in zip(rows.tolist(), outputs[LM_LOGITS], strict=True)}
    values = np.concatenate([found[row] for row in range(len(found))]) if found else np.empty((0, 0), np.float32)
    return Ragged(values, offsets_of(lengths))
