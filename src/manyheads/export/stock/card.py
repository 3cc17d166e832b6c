"""The model card of an exported stock classifier."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.checkpoint.card.markdown import code, table
from manyheads.export.linear import ExportedHead
from manyheads.export.stock.config import label_names, thresholds_of

_TASKS = {False: "text-classification", True: "token-classification"}
_SNIPPETS = {
    "multiclass": """classify = pipeline("text-classification", model="path/to/this/folder", top_k=None)
print(classify("A text.", truncation=True))  # every label with its probability""",
    "multilabel": """classify = pipeline("text-classification", model="path/to/this/folder", top_k=None)
print(classify("A text.", truncation=True))  # every label with its own probability""",
    "regression": """classify = pipeline("text-classification", model="path/to/this/folder")
print(classify("A text.", truncation=True)[0]["score"])  # the value""",
    "tokens": """tag = pipeline("token-classification", model="path/to/this/folder", aggregation_strategy="first")
print(tag("A text."))  # entities with their probabilities""",
}


def stock_card(head: ExportedHead, class_name: str, notes: Sequence[str], difference: float) -> str:
    """Return the card as Markdown.

    Args:
        head: The head.
        class_name: The stock class.
        notes: What was folded and what is left out.
        difference: Largest difference of logits that was found.
    """
    task = _TASKS[head.head.spec.by_word]
    parts = [
        f"---\nlibrary_name: transformers\npipeline_tag: {task}\ntags:\n- manyheads\n---",
        f"# {code(head.name)}",
        f"A head of a [manyheads](https://pypi.org/project/manyheads/) model as a plain {code(class_name)} of "
        f"transformers. Its logits equal those of the model: the largest difference was {difference:.1g} on the texts "
        "that were compared.",
        f"## Use\n\n```python\nfrom transformers import pipeline\n\n{_SNIPPETS[head.head.spec.kind]}\n```",
        f"## Labels\n\n{_labels(head)}",
    ]
    if notes:
        parts.append("## Differences\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _labels(head: ExportedHead) -> str:
    thresholds = thresholds_of(head)
    if thresholds is None:
        return table(["label"], [[code(name)] for name in label_names(head)])
    return table(["label", "threshold"], [[code(name), f"{limit:.6g}"] for name, limit in thresholds.items()])
