"""Write the model card of a saved folder: metadata, and a text from a template and ``heads.json``."""

from __future__ import annotations

import json
from pathlib import Path

from manyheads.checkpoint.card.base_card import BaseCard
from manyheads.checkpoint.card.heads import head_section
from manyheads.checkpoint.card.language_model import language_model_sentences
from manyheads.checkpoint.card.markdown import code, table
from manyheads.checkpoint.card.metadata import metadata
from manyheads.checkpoint.card.names import about, model_name
from manyheads.checkpoint.card.seal import CARD, sealed
from manyheads.checkpoint.card.training import majority_of, metrics_of, rows_of, settings_of, text_columns
from manyheads.checkpoint.format import BackboneRecord, Checkpoint

_TEMPLATE = Path(__file__).with_name("template.md.jinja")
# Headings that only people can fill, each with the question that it answers.
_TO_WRITE = (
    ("Intended use", "Who should use this model, for which texts and which decisions?"),
    ("Limitations", "For which texts, languages or groups of people is it unreliable? What must it not decide?"),
    ("Origin of the data", "Where do the texts come from, who labelled them by which rules, and may they be used so?"),
    ("Contact", "Who answers questions about this model?"),
)


def write_card(folder: Path, checkpoint: Checkpoint, base_card: BaseCard, hub_id: str | None = None) -> None:
    """Write a folder's model card.

    Args:
        folder: Where to.
        checkpoint: The content of the folder's ``heads.json``.
        base_card: Further facts on the backbone.
        hub_id: The hub repository that the folder is pushed to, if it is.
    """
    (folder / CARD).write_text(card_text(checkpoint, base_card, hub_id), encoding="utf-8", newline="\n")


def card_text(checkpoint: Checkpoint, base_card: BaseCard, hub_id: str | None = None) -> str:
    """Return a model card; it follows from its arguments alone."""
    import jinja2
    from huggingface_hub import ModelCard

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    body = environment.from_string(_TEMPLATE.read_text("utf-8")).render(_content(checkpoint, base_card, hub_id))
    return sealed(str(ModelCard(f"---\n{metadata(checkpoint, base_card.license).to_yaml()}\n---\n\n{body}")))


def _content(checkpoint: Checkpoint, base_card: BaseCard, hub_id: str | None) -> dict[str, object]:
    backbone = checkpoint.backbone
    return {
        "name": model_name(checkpoint).replace("_", "\\_"),
        "about": about(checkpoint),
        "version": checkpoint.version,
        "kind": backbone.kind,
        "place": json.dumps(hub_id or "."),
        "place_note": "" if hub_id else "  # the folder of this file, or its hub id",
        "backbone": _backbone_argument(backbone),
        "has_language_model": base_card.language_model,
        "transformers_class": base_card.transformers_class,
        "example": _example(checkpoint),
        "heads": [head_section(name, head) for name, head in checkpoint.heads.items()],
        "results": _results(checkpoint),
        "language_model": language_model_sentences(checkpoint, base_card.language_model),
        "training": _training(checkpoint),
        "to_write": _TO_WRITE,
    }


def _backbone_argument(backbone: BackboneRecord) -> str:
    """Return what loads the backbone that the heads belong to, as Python; its folder is not named."""
    if backbone.base is None or backbone.tuned:
        return '"path/to/its/backbone"'
    revision = "" if backbone.revision is None else f", revision={json.dumps(backbone.revision)}"
    return f"{json.dumps(backbone.base)}{revision}"


def _example(checkpoint: Checkpoint) -> str:
    """Return a text, or a pair of texts for heads that were trained on pairs, as Python."""
    pairs = any(len(text_columns(head)) == 2 for head in checkpoint.heads.values())
    return '("A text.", "Another text.")' if pairs else '"A text."'


def _results(checkpoint: Checkpoint) -> str:
    rows = []
    for name, head in checkpoint.heads.items():
        count, majority = _count(rows_of(head, "evaluate")), majority_of(head)
        for metric, value in metrics_of(head).items():
            rows.append([code(name), count, metric.replace("_", " "), f"{value:.4g}"])
        if majority is not None:
            rows.append([code(name), count, "accuracy of always predicting the most frequent label", f"{majority:.4g}"])
    return table(["head", "rows", "metric", "value"], rows) if rows else ""


def _training(checkpoint: Checkpoint) -> str:
    rows = []
    for name, head in checkpoint.heads.items():
        if "method" not in head.summary:
            continue
        columns = f"{' and '.join(map(code, text_columns(head)))} → {code(head.spec.column or name)}"
        counts = [_count(rows_of(head, part)) for part in ("train", "evaluate")]
        rows.append([code(name), columns, *counts, code(str(head.summary["method"])), settings_of(head)])
    return table(["head", "columns", "training rows", "evaluation rows", "method", "settings"], rows) if rows else ""


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
