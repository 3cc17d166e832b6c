"""The training driver: from a table to trained heads and a result, with any method."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.checkpoint import save_checkpoint
from manyheads.core import HeadedCore
from manyheads.data.labelled import Reading
from manyheads.errors import HeadError, MethodError, listed
from manyheads.evaluation.lm_check import compare_weights
from manyheads.evaluation.metrics import Metrics, baseline, measure
from manyheads.heads import Head, Logits, Targets
from manyheads.runtime.files import check_free
from manyheads.runtime.processes import is_first, process_count, wait_for_all
from manyheads.training.dataset import Evaluation, TrainingData
from manyheads.training.fit import FitResult
from manyheads.training.method import Method, Outcome
from manyheads.training.prepare import Prepared, prepare
from manyheads.training.result import OutOfFold, TrainResult
from manyheads.types import Tokenizer


def run_training(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    method: Method,
    heads: Iterable[str] | None,
    reading: Reading,
    evaluation: Evaluation,
    out: Path | None = None,
    overwrite: bool = False,
    files: Mapping[str, str] | None = None,
) -> TrainResult:
    """Train heads on a table; see ``manyheads.train`` for the arguments."""
    started = time.perf_counter()
    if process_count() > 1 and not method.several_processes:
        raise MethodError(f"{type(method).__name__} runs in one process; start it without torchrun")
    if out is not None:
        check_free(out, overwrite)
    chosen = core.heads.chosen(heads)
    if not chosen:
        reason = "heads=[] names none" if core.heads else "this model has none"
        raise HeadError(f"There is no head to train: {reason}; add one with add_head, or infer some with infer_heads")
    _check_read(core, chosen)
    prepared = prepare(core, tokenizer, data, chosen, reading, evaluation, method.other_texts)
    outcome = method.fit(core, chosen, prepared.data)
    core.prune()
    new_tokens = core.backbone.provenance.new_tokens
    before, after = outcome.perplexity
    check = compare_weights(prepared.data.digest, core.backbone.digest(), after, before, new_tokens)
    metrics = {name: _metrics(head, prepared.data, name, outcome.logits[name]) for name, head in chosen.items()}
    rows = {name: _counts(prepared.data.targets[name], prepared.data) for name in chosen}
    for name, head in chosen.items():
        head.summary = _summary(method, reading.text, outcome, name, metrics[name], rows[name])
    wait_for_all()
    if out is not None and is_first():
        save_checkpoint(out, core.backbone, tokenizer, core.heads, overwrite=overwrite, files=files)
    wait_for_all()
    method.tidy()
    return TrainResult(
        metrics=metrics,
        rows=rows,
        evaluated=prepared.evaluated.tolist(),
        reads={name: " + ".join(str(tap) for tap in head.taps) for name, head in chosen.items()},
        chosen={name: fit.settings for name, fit in outcome.fits.items()},
        search={name: fit.alternatives for name, fit in outcome.fits.items()},
        history={name: fit.history for name, fit in outcome.fits.items()},
        out_of_fold={name: _out_of_fold(head, prepared, name, outcome.fits[name]) for name, head in chosen.items()},
        lm_check=check,
        notes=[*prepared.notes, *outcome.notes, *_stale(core, chosen), *_token_notes(new_tokens)],
        seconds=time.perf_counter() - started,
        out=out,
    )


def _check_read(core: HeadedCore, heads: Mapping[str, Head]) -> None:
    """Check that every head that is read is trained, or trains in the same run."""
    for name, head in heads.items():
        raw = [other for other in head.reads_heads if other not in heads and not core.heads[other].is_usable]
        if raw:
            raise HeadError(
                f"Head {name!r}: reads {listed(raw)}, which is untrained; train it first or in the same call"
            )


def _stale(core: HeadedCore, heads: Mapping[str, Head]) -> list[str]:
    """Return a note on heads that read a head that has changed."""
    others = core.heads.dependents(heads)
    return [f"Heads {listed(others)} were not trained, and read heads that have changed."] if others else []


def _token_notes(tokens: int) -> list[str]:
    if not tokens:
        return []
    return [f"{tokens} tokens were added since the backbone was loaded, so the language model's output has changed."]


def _out_of_fold(head: Head, prepared: Prepared, name: str, fit: FitResult) -> OutOfFold:
    data = prepared.data
    places = data.labelled(name)
    places = places[data.targets[name].take(places).items().rows]
    if not len(fit.out_of_fold):
        return OutOfFold(prepared.trained[:0], np.empty((0, head.spec.outputs), dtype=np.float32))
    seen = ~np.isnan(fit.out_of_fold).any(axis=1)
    return OutOfFold(prepared.trained[places[seen]], fit.out_of_fold[seen])


def _metrics(head: Head, data: TrainingData, name: str, logits: Logits) -> Metrics:
    """Return the metrics on the evaluation rows, and those of predictions without the texts."""
    train, targets = (data.targets[name].take(rows).values for rows in (data.train, data.evaluate))
    return measure(head.spec, targets, logits.values) | baseline(head.spec, train, targets)


def _counts(targets: Targets, data: TrainingData) -> dict[str, int]:
    labelled = targets.labelled
    return {"train": int(labelled[data.train].sum()), "evaluate": int(labelled[data.evaluate].sum())}


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _summary(
    method: Method, text: str | Sequence[str], outcome: Outcome, name: str, metrics: Metrics, rows: dict[str, int]
) -> dict[str, Any]:
    """Return the record that is saved with the head. JSON has no NaN, so an undefined metric is ``None``."""
    fit = outcome.fits[name]
    return {
        **method.describe(),
        "text": text if isinstance(text, str) else list(text),
        "settings": fit.settings,
        "rows": rows,
        "metrics": _finite(metrics),
        "history": [_finite(record) for record in fit.history],
        "tried": [alternative.record() for alternative in fit.alternatives],
    }
