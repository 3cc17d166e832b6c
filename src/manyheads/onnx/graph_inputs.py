"""The inputs that a graph gets for some texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from manyheads.data.batching import Batches
from manyheads.data.texts.texts import Texts
from manyheads.inference.settings import ScoringSettings
from manyheads.onnx.bags import Bags
from manyheads.onnx.inputs import Inputs
from manyheads.onnx.layout_file import read_layout
from manyheads.onnx.rows import as_rows
from manyheads.onnx.runner import rows_together
from manyheads.onnx.tokenizer import load_tokenizer

_BATCH_TOKENS = 2048


def graph_inputs(folder: Path, texts: Texts, heads: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs of batches of texts, each text cut to the limit.

    Args:
        folder: An exported graph's.
        texts: The texts.
        heads: Names of the heads that read them.
    """
    layout = read_layout(folder)
    chosen = {name: layout.heads[name] for name in heads}
    rows = as_rows(layout, load_tokenizer(folder, layout), texts, chosen, ScoringSettings())
    bags = Bags.load(folder, layout)
    for part in rows.parts:
        read = {number for name in part.heads for number in layout.heads[name].passes}
        inputs = Inputs(layout, bags, part.tokenized, read)
        tokens = inputs.lengths.sum(axis=1)
        for group in rows_together(inputs.lengths, layout.row_groups):
            yield from (inputs.of(group[places]) for places in Batches(tokens[group], _BATCH_TOKENS))
