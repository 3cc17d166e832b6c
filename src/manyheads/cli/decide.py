"""``manyheads decide``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from manyheads.checkpoint.format import read_checkpoint
from manyheads.checkpoint.load import is_checkpoint
from manyheads.checkpoint.replace_decision import replace_decision
from manyheads.checkpoint.target import check_target
from manyheads.cli.decide_options import DecideGoals, DecideInput, DecideOutput
from manyheads.cli.option_groups import given
from manyheads.cli.tables import read_input
from manyheads.deciding.promises.decision_fit import DecisionFit
from manyheads.deciding.promises.goals import Goals
from manyheads.errors import ConfigError, counted
from manyheads.functions.fit_decision import fit_decision
from manyheads.inference.text_columns import text_columns
from manyheads.model import HeadedModel
from manyheads.runtime.files import check_writable

# How a measure is described; shares are printed as percentages.
_SHARES = {
    "answered": "answered",
    "error": "of the answers wrong",
    "error_of_all": "wrong if all were answered",
    "set_coverage": "of the sets with the right label",
}
_NUMBERS = {
    "set_size": "labels per set",
    "cost": "cost per text",
    "cost_without": "cost per text without costs",
    "precision": "mean precision",
    "recall": "mean recall",
    "f1": "mean F1",
}


def run_decide(source: DecideInput, goals: DecideGoals, output: DecideOutput) -> None:
    """Fit the decision, save the model with it, and report what it promises."""
    asked = {**given(goals), "thresholds": _thresholds(goals.thresholds)}
    Goals(**asked)
    _check_output(source.model, output)
    table = read_input(source.data, source.format)
    model = HeadedModel.from_pretrained(source.model, trust_remote_code=source.trust_remote_code)
    text = text_columns(source.text, [model.heads[source.head]], source.data)
    limits = {"max_length": source.max_length, "long_text": source.long_text}
    fit = fit_decision(model, source.head, table, text, **limits, **asked)  # type: ignore[arg-type]
    if output.out is None:
        replace_decision(Path(source.model), source.head, fit.decision)
    else:
        model.save_pretrained(output.out, _kind(source.model), output.overwrite)
    _report(fit, output, source)


def _thresholds(goal: str | None) -> str | dict[str, float] | None:
    """Return ``"precision=0.9"`` as ``{"precision": 0.9}``; other texts unchanged."""
    if goal is None or "=" not in goal:
        return goal
    name, _, share = goal.partition("=")
    try:
        return {name: float(share)}
    except ValueError:
        raise ConfigError(f"--thresholds: {share!r} is not a number; write {name}=0.9, for example") from None


def _check_output(model: str, output: DecideOutput) -> None:
    """Check, before any work is done, that the model can be saved.

    Raises:
        ConfigError: without ``--out``, a model that manyheads did not save in a folder of this machine.
        OutputExistsError: the folder is not free or not writable.
    """
    if output.out is not None:
        check_target(output.out, output.overwrite, [Path(model)])
    elif is_checkpoint(Path(model)):
        check_writable(Path(model) / "heads.json")
    else:
        raise ConfigError(f"{model}: is not a folder saved by manyheads, so it is not changed; name another with --out")


def _kind(model: str) -> str:
    """Return how the backbone is saved: as it was."""
    folder = Path(model)
    return read_checkpoint(folder).backbone.kind if is_checkpoint(folder) else "full"


def _report(fit: DecisionFit, output: DecideOutput, source: DecideInput) -> None:
    saved = source.model if output.out is None else str(output.out)
    if output.as_json:
        print(json.dumps(_as_json(fit) | {"out": saved}, ensure_ascii=False, indent=1))
        return
    console = Console(highlight=False)
    console.print(f"{fit.head}: fitted to {counted(fit.rows, 'row')} of {source.data}", markup=False)
    for sentence in (*fit.promises, *fit.notes):
        console.print(f"  {sentence}", markup=False)
    console.print(f"  On these rows: {', '.join(_measured(fit.measures))}", markup=False)
    console.print(f"Saved: {saved}", markup=False)


def _as_json(fit: DecisionFit) -> dict[str, Any]:
    return {
        "head": fit.head,
        "rows": fit.rows,
        "promises": fit.promises,
        "notes": fit.notes,
        "measures": fit.measures,
        "decision": asdict(fit.decision),
    }


def _measured(measures: Mapping[str, float]) -> list[str]:
    shares = [f"{measures[name]:.1%} {text}" for name, text in _SHARES.items() if name in measures]
    return shares + [f"{measures[name]:.3g} {text}" for name, text in _NUMBERS.items() if name in measures]
