"""The training driver, the same for every method: prepare the data, train, measure, save."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from manyheads.backbone.row_groups import AllRows
from manyheads.checkpoint import save_checkpoint
from manyheads.checkpoint.card.seal import CARD, is_edited
from manyheads.checkpoint.save import saved_size
from manyheads.checkpoint.target import check_space, check_target
from manyheads.core import HeadedCore
from manyheads.data.labelled import Reading
from manyheads.errors import CheckpointError, DataError, HeadError, MethodError, listed
from manyheads.evaluation.lm_check import LMCheck, compare_samples, compare_weights, sample_logits
from manyheads.heads import Head
from manyheads.runtime.processes import is_first, process_count, wait_for_all
from manyheads.training.dataset import Evaluation, TrainingData
from manyheads.training.method import Method, Outcome
from manyheads.training.prepare import Prepared, prepare
from manyheads.training.result import TrainResult
from manyheads.training.trained_head import TrainedHead, few_rows_notes
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
    """Train heads on a table; the arguments are those of ``train``.

    Args:
        files: File name -> content of further files to save with the model.
    """
    started = time.perf_counter()
    check_settings(evaluation)
    if process_count() > 1 and not method.several_processes:
        raise MethodError(f"{type(method).__name__} runs in one process; start it without torchrun")
    chosen = chosen_heads(core, heads)
    if out is not None:
        check_target(out, overwrite, _paths(core, data, evaluation.data))
        check_space(out, saved_size(core.backbone, core.heads))
    prepared = prepare(core, tokenizer, data, chosen, reading, evaluation, method.other_texts)
    with torch.inference_mode(False), torch.enable_grad():
        sampled, modules = _sampled(core, prepared.data), dict(core.backbone.model.named_modules())
        outcome = method.fit(core, chosen, prepared.data)
    core.prune()
    trained = {
        name: TrainedHead(name, head, prepared, outcome.fits[name], outcome.logits[name])
        for name, head in chosen.items()
    }
    lm_check = _lm_check(core, prepared.data, outcome, sampled)
    if dict(core.backbone.model.named_modules()) != modules:  # equal weights in other layers compute something else
        lm_check = dataclasses.replace(lm_check, bit_identical=False, max_abs_diff=None)
    for one in trained.values():
        one.head.summary = one.summary(method, reading, lm_check) | dict(outcome.record)
    wait_for_all()
    if out is not None and is_first():
        try:
            save_checkpoint(out, core.backbone, tokenizer, core.heads, overwrite=overwrite, files=files)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {_rescued(core, tokenizer, lm_check)}") from error
    wait_for_all()
    method.tidy()
    of_heads = [
        *few_rows_notes(trained, evaluation.data is None),
        *(note for one in trained.values() for note in one.notes),
    ]
    notes = [
        *prepared.notes,
        *outcome.notes,
        *of_heads,
        *_padding_note(core),
        *_dependent_heads_note(core, chosen),
        *_new_tokens_note(core),
        *_kept_card_note(out),
    ]
    result = _result(trained, prepared, lm_check, notes, time.perf_counter() - started, out)
    return dataclasses.replace(result, candidates=list(outcome.candidates))


def check_settings(evaluation: Evaluation) -> None:
    """Check the seed and the type of the fraction.

    Raises:
        MethodError: the seed is no whole number in its range.
        DataError: the fraction is no number.
    """
    seed, fraction = evaluation.seed, evaluation.fraction
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise MethodError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise DataError(f"eval_fraction must be a number from 0 to 1, got {fraction!r}")


def _paths(core: HeadedCore, *inputs: object) -> list[Path]:
    """Return the files and folders that a training reads."""
    source = core.backbone.source
    paths = [Path(item) for item in inputs if isinstance(item, str | Path)]
    return paths if source is None else [*paths, source.folder]


def _rescued(core: HeadedCore, tokenizer: Tokenizer, lm_check: LMCheck) -> str:
    """Save trained heads to another folder, after saving them where they belong failed; return where they are."""
    kind = "heads" if lm_check.bit_identical else "full"
    for parent in dict.fromkeys([Path(tempfile.gettempdir()), Path.cwd(), Path.home()]):
        try:
            folder = Path(tempfile.mkdtemp(prefix="manyheads-", dir=parent))
            save_checkpoint(folder, core.backbone, tokenizer, core.heads, kind)
        except (CheckpointError, OSError):
            continue
        call = "load_head" if kind == "heads" else "HeadedModel.from_pretrained"
        return f"the trained heads were saved to {str(folder)!r}; load them with {call}"
    return "the trained heads could not be saved anywhere else and are only in memory"


def chosen_heads(core: HeadedCore, names: Iterable[str] | None) -> dict[str, Head]:
    """Return the heads to train.

    Raises:
        HeadError: there is none, or one of them reads an untrained head.
    """
    chosen = core.heads.chosen(names)
    if not chosen:
        reason = "heads=[] is empty" if core.heads else "this model has none"
        raise HeadError(f"No head to train: {reason}; add one with add_head, or infer heads with infer_heads")
    for name, head in chosen.items():
        untrained = [other for other in head.reads_heads if other not in chosen and not core.heads[other].is_usable]
        if untrained:
            raise HeadError(
                f"Head {name!r}: reads the untrained head {listed(untrained)}; train it first, or in the same call"
            )
    return chosen


def _lm_check(core: HeadedCore, data: TrainingData, outcome: Outcome, sampled: Sequence[Tensor]) -> LMCheck:
    before, after = outcome.perplexity
    backbone = core.backbone
    check = compare_weights(data.digest, backbone.digest(), after, before, backbone.provenance.new_tokens)
    return compare_samples(check, sampled, _sampled(core, data)) if check.bit_identical else check


def _sampled(core: HeadedCore, data: TrainingData) -> list[Tensor]:
    """Return logits of the language model on a few texts, for a backbone of which the weights do not tell them."""
    return sample_logits(core.backbone, data.tokenized) if core.backbone.changes_itself else []


def _dependent_heads_note(core: HeadedCore, trained: Mapping[str, Head]) -> list[str]:
    """Return a sentence on heads that read the trained heads and were not trained with them."""
    others = core.heads.dependents(trained)
    return [f"Heads {listed(others)} were not trained, and read heads that have changed."] if others else []


def _padding_note(core: HeadedCore) -> list[str]:
    """Return a sentence on a backbone whose rows are computed apart."""
    groups = core.backbone.row_groups
    if isinstance(groups, AllRows):
        return []
    return [f"{core.backbone.row_groups_note}."]


def _new_tokens_note(core: HeadedCore) -> list[str]:
    """Return a sentence on tokens that were added since the backbone was loaded."""
    count = core.backbone.provenance.new_tokens
    if not count:
        return []
    return [
        f"{count} tokens were added since the backbone was loaded; they take probability from all other tokens, so the "
        "language model's output changes."
    ]


def _kept_card_note(out: Path | None) -> list[str]:
    """Return a sentence on a model card that a person edited, and which saving therefore kept."""
    if out is None or not is_edited(out):
        return []
    return [f"{out / CARD} was edited, so it was kept as it is; check whether it describes the new model."]


def _result(
    trained: Mapping[str, TrainedHead],
    prepared: Prepared,
    lm_check: LMCheck,
    notes: list[str],
    seconds: float,
    out: Path | None,
) -> TrainResult:
    return TrainResult(
        metrics={name: one.metrics for name, one in trained.items()},
        rows={name: one.rows for name, one in trained.items()},
        evaluated=prepared.evaluation_rows.tolist(),
        reads={name: one.reads for name, one in trained.items()},
        chosen={name: one.fit.settings for name, one in trained.items()},
        search={name: one.fit.alternatives for name, one in trained.items()},
        history={name: one.fit.history for name, one in trained.items()},
        temperature={name: one.fit.temperature for name, one in trained.items() if one.fit.temperature is not None},
        out_of_fold={name: one.out_of_fold for name, one in trained.items()},
        lm_check=lm_check,
        notes=notes,
        seconds=seconds,
        out=out,
        predicted={name: one.predicted for name, one in trained.items()},
    )
