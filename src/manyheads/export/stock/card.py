"""The model card of an exported stock classifier."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.checkpoint.card.markdown import code, table
from manyheads.core import HeadedCore
from manyheads.export.card import card
from manyheads.export.linear import ExportedHead
from manyheads.export.origin import output_names, thresholds_of

_TASKS = {False: "text-classification", True: "token-classification"}
_PIPELINE = """```python
from transformers import pipeline

classify = pipeline({settings})  # "." is the folder of this file, or its hub id
print({call})  # {meaning}
```"""
_MEANINGS = {
    "multiclass": "each label with its probability",
    "multilabel": "each label with its own probability",
    "regression": "the score is the value",
    "tokens": "entities, or words, with their probabilities",
}


def stock_card(core: HeadedCore, head: ExportedHead, class_name: str, notes: Sequence[str], difference: float) -> str:
    """Return the card as Markdown.

    Args:
        core: Backbone and heads.
        head: The head.
        class_name: The stock class.
        notes: What was folded and what is left out.
        difference: Largest difference of logits that was found.
    """
    about = (
        f"A head of a [manyheads](https://pypi.org/project/manyheads/) model as a plain {code(class_name)} of "
        f"transformers. Its logits equal those of the model: the largest difference was {difference:.1g} on the texts "
        "that were compared."
    )
    metadata = {"library_name": "transformers", "pipeline_tag": _task(head), "tags": ["manyheads"]}
    return card(core, head, metadata, about, {"Use": _snippet(head), "Labels": _labels(head)}, notes)


def _task(head: ExportedHead) -> str:
    return _TASKS[head.head.spec.by_word]


def _snippet(head: ExportedHead) -> str:
    spec = head.head.spec
    settings = f'"{_task(head)}", model="."'
    settings += ', aggregation_strategy="first"' if spec.by_word else ", top_k=None" if spec.has_labels else ""
    text = '{"text": "A text.", "text_pair": "Another."}' if head.reads_pairs else '"A text."'
    call = f"classify({text})" if spec.by_word else f"classify({text}, truncation=True)"
    return _PIPELINE.format(settings=settings, call=call, meaning=_MEANINGS[spec.kind])


def _labels(head: ExportedHead) -> str:
    thresholds = thresholds_of(head)
    if thresholds is None:
        return table(["label"], [[code(name)] for name in output_names(head)])
    return table(["label", "threshold"], [[code(name), f"{limit:.6g}"] for name, limit in thresholds.items()])
