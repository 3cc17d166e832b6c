"""``predictor.json``: what stands beside the graph of an exported model, written by the export and audited here.

The graph's inputs are, for each of its passes over the texts (0 is the text alone, the others have prompts around it)::

    input_ids, attention_mask, token_type_ids          pass 0; segments only if the backbone reads them
    input_ids_1, attention_mask_1                      pass 1, and so on

all int64 (rows, tokens of the pass), padded on the right. Heads that label words add ``word_ids``, int64 (rows, tokens
of pass 0), -1 for no word, and ``word_numbers``, int64 (words,), the numbers 0, 1, 2 up to the largest number of words
in a row. A head that reads bags of terms adds ``bag_NAME``, fp32 (rows, width of the head's first layer): what its
bags, which are computed outside the graph, contribute to that layer. Inputs that no head reads are absent.

Its outputs are fp32 logits: (rows, outputs) of each head, or (rows, words, outputs) of one that labels words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manyheads.heads import Decision, HeadSpec
from manyheads.types import Template

PROTOCOL = 1
PREDICTOR_JSON = "predictor.json"
GRAPH = "model.onnx"
LANGUAGE_MODEL_GRAPH = "language_model.onnx"
TOKENIZER_JSON = "tokenizer.json"
BAGS = "bags.npz"

# Rows that the backbone computes together: see ``backbone.row_groups``.
ROW_GROUPS = ("all rows", "rows of equal length", "single rows")


@dataclass(frozen=True)
class HeadLayout:
    """One head.

    Attributes:
        spec: Its settings; what it reads is not among them.
        decision: How it turns scores into an answer.
        output: Name of the graph's output with its logits.
        pairs: Whether it was trained on pairs of texts; ``None`` if nobody knows.
        passes: The passes that it reads, directly or through another head.
        bags: Number of its bags of terms in ``bags.npz``.
    """

    spec: HeadSpec
    decision: Decision
    output: str
    pairs: bool | None
    passes: tuple[int, ...]
    bags: int


@dataclass(frozen=True)
class Layout:
    """A graph and its surroundings.

    Attributes:
        name: The backbone's class, for messages.
        heads: The heads, by name, in the model's order.
        prompts: The prompt of each pass from 1 on.
        accepted: Names of the inputs that the tokenizer gives and the backbone takes.
        limit: Most tokens of a row, special tokens included; ``None`` for no limit.
        pad: The id of padding.
        start: The id that stands for a text without tokens.
        row_groups: The rows that are computed together, one of ``ROW_GROUPS``.
        language_model: Whether there is a graph with the language model's logits.
        sizes: Size in bytes of each file that is read with this one.
    """

    name: str
    heads: Mapping[str, HeadLayout]
    prompts: Sequence[Template]
    accepted: frozenset[str]
    limit: int | None
    pad: int
    start: int
    row_groups: str
    language_model: bool
    sizes: Mapping[str, int]
