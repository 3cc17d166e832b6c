"""The metadata at the start of a model card, which the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from manyheads.checkpoint.card.names import model_name
from manyheads.checkpoint.card.training import metrics_of
from manyheads.checkpoint.format import Checkpoint, HeadRecord

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

_TEXTS, _WORDS = "text-classification", "token-classification"
# The hub's ids of metrics that have another name here.
_METRIC_IDS = {
    "macro_f1": "f1",
    "micro_f1": "f1",
    "entity_f1": "f1",
    "entity_precision": "precision",
    "entity_recall": "recall",
    "mean_absolute_error": "mae",
    "r2": "r_squared",
}


def metadata(checkpoint: Checkpoint, license: Mapping[str, str]) -> ModelCardData:
    """Return the metadata: base model, license, task, tags, and the results of training as a model index.

    Args:
        checkpoint: The content of ``heads.json``.
        license: From ``license_in``.
    """
    from huggingface_hub import ModelCardData

    tasks = list(dict.fromkeys(_task(head) for head in checkpoint.heads.values()))
    results = [result for name, head in checkpoint.heads.items() for result in _results(name, head)]
    return ModelCardData(
        **license,
        base_model=checkpoint.backbone.base,
        library_name="manyheads",
        pipeline_tag=_TEXTS if _TEXTS in tasks else next(iter(tasks), None),
        tags=["manyheads", *tasks, *(["multi-task"] if len(checkpoint.heads) > 1 else [])],
        model_name=model_name(checkpoint) if results else None,
        eval_results=results or None,
    )


def _task(head: HeadRecord) -> str:
    return _WORDS if head.spec.by_word else _TEXTS


def _results(name: str, head: HeadRecord) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    rows: dict[str, Any] = head.summary.get("metrics", {})
    for metric, value in metrics_of(head).items():
        yield EvalResult(
            task_type=_task(head),
            task_name=name,
            dataset_type="unknown",
            dataset_name=f"evaluation rows of {name}",
            dataset_config=name,
            dataset_split="evaluation",
            dataset_args={"rows": rows.get("rows")},
            metric_type=_METRIC_IDS.get(metric, metric),
            metric_name=metric.replace("_", " "),
            metric_value=value,
        )
