"""``manyheads train``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from manyheads.checkpoint.target import check_target
from manyheads.cli.chart import learning_curve
from manyheads.cli.new_heads import new_specs
from manyheads.cli.run_file.config import (
    CONFIG,
    PartialRun,
    Run,
    check_run,
    merged,
    read_config,
    whole_run,
    write_config,
)
from manyheads.cli.run_file.heads import check_kept, write_head
from manyheads.cli.run_file.methods import build_method, read_options, write_method
from manyheads.cli.tables import metric_lines, read_input
from manyheads.cli.train_options import TrainOptions
from manyheads.cli.words import read_words
from manyheads.data.labelled import Reading
from manyheads.data.tables.table import Table, read_table
from manyheads.data.vocabulary.added_tokens import AddedTokens
from manyheads.evaluation.lm_check import LMCheck
from manyheads.model import HeadedModel
from manyheads.runtime.processes import is_first
from manyheads.training import Method, TrainResult, run_training
from manyheads.training.dataset import Evaluation
from manyheads.training.methods import DEFAULT


@dataclass(frozen=True)
class _Plan:
    """The run that the options and the run file describe together.

    Attributes:
        run: The whole run, defaults included.
        method: The training method.
        heads: Head name -> its settings.
        new_heads: Settings of every new head; they override those of ``heads``.
        balanced: Whether new heads with labels weight their classes inversely to their frequency.
    """

    run: Run
    method: Method
    heads: Mapping[str, Mapping[str, Any]]
    new_heads: Mapping[str, Any]
    balanced: bool


def run_train(options: TrainOptions) -> None:
    """Read the table, infer heads, train, save, and report."""
    # Only one of several processes prints.
    console = Console(stderr=True, quiet=not is_first())
    # All options are checked before a backbone is loaded.
    plan = _planned(options)
    run = plan.run
    inputs = (run.data, run.eval, run.add_words, run.backbone, options.data.config)
    check_target(Path(run.out), run.overwrite, [Path(item) for item in inputs if item is not None and item != "-"])
    table = read_input(run.data, run.format)
    evaluation = None if run.eval is None else read_table(run.eval)
    words = [] if run.add_words is None else read_words(run.add_words)
    texts = [run.text] if isinstance(run.text, str) else run.text
    for column in [*texts, *([] if run.weight is None else [run.weight])]:
        table.values(column)
    model = HeadedModel.from_pretrained(run.backbone, trust_remote_code=run.trust_remote_code)
    if words:
        console.print(_added(model.add_tokens(words)), markup=False, highlight=False)
    heads = _add_heads(model, table, plan, console)
    result = run_training(
        model.core,
        model.tokenizer,
        table,
        plan.method,
        list(heads),
        Reading(run.text, run.max_length, run.long_text, run.weight),
        Evaluation(evaluation, run.eval_fraction, run.seed),
        Path(run.out),
        run.overwrite,
        {CONFIG: write_config(run, write_method(plan.method), heads)},
    )
    if options.output.as_json and is_first():
        print(json.dumps(_as_json(result), ensure_ascii=False, indent=1))
    elif not options.output.as_json:
        _show(result, console)


def _planned(options: TrainOptions) -> _Plan:
    """Check the options and the run file, and combine them."""
    config = None if options.data.config is None else Path(options.data.config)
    run, method, new_heads = options.run_keys(), options.method_keys(), options.new_head_keys()
    check_run({f"--{key.replace('_', '-')}": (key, value) for key, value in run.items()})
    file = PartialRun({}, {}, {}) if config is None else read_config(config)
    method = read_options(method, method.get("name", file.method.get("name", DEFAULT)))
    both = merged(file, PartialRun(run, method, options.head_tables()))
    return _Plan(whole_run(both, config), build_method(both.method), both.heads, new_heads, options.heads.balanced)


def _add_heads(model: HeadedModel, table: Table, plan: _Plan, console: Console) -> dict[str, dict[str, Any]]:
    """Add the heads that the model does not have yet; existing heads keep their settings and are trained again. Return
    each head's settings.
    """
    kept = {name: dict(settings) for name, settings in plan.heads.items() if name in model.heads}
    for name, settings in kept.items():
        check_kept(name, model.heads[name].spec, settings)
    new = {name: {**settings, **plan.new_heads} for name, settings in plan.heads.items() if name not in kept}
    specs = new_specs(table, new, console)
    for name, spec in specs.items():
        balanced = plan.balanced and spec.has_labels
        specs[name] = dataclasses.replace(spec, class_weights="balanced") if balanced else spec
        model.add_head(name, specs[name])
    return {name: kept[name] if name in kept else write_head(specs[name]) for name in plan.heads}


def _added(added: AddedTokens) -> str:
    known = f" ({len(added.known)} were tokens already)" if added.known else ""
    return f"{len(added.words)} words added to the tokenizer{known}: {added.vocabulary_after:,} tokens now."


def _as_json(result: TrainResult) -> dict[str, Any]:
    return {
        "metrics": result.metrics,
        "rows": result.rows,
        "search": {
            name: [alternative.record() for alternative in alternatives] for name, alternatives in result.search.items()
        },
        "candidates": [candidate.record() for candidate in result.candidates],
        "lm_check": dataclasses.asdict(result.lm_check),
        "notes": result.notes,
        "seconds": result.seconds,
        "out": None if result.out is None else str(result.out),
    }


def _show(result: TrainResult, console: Console) -> None:
    table = RichTable(box=box.SIMPLE)
    for title in ("head", "trained on", "evaluated on", "metrics"):
        table.add_column(title, justify="right" if title.endswith(" on") else "left")
    for name, metrics in result.metrics.items():
        rows = result.rows[name]
        table.add_row(name, f"{rows['train']:,}", f"{rows['evaluate']:,}", metric_lines(metrics))
    console.print(table)
    for name, reads in result.reads.items():
        curve = learning_curve(result.history[name])
        console.print(f"{name} reads {reads}{'; ' if curve else ''}{curve}", markup=False, highlight=False)
    for note in result.notes:
        console.print(note, markup=False, highlight=False)
    console.print(_backbone_line(result.lm_check), highlight=False)
    console.print(f"Saved in {result.out} after {result.seconds:.1f} s.", highlight=False)


def _backbone_line(check: LMCheck) -> str:
    change = "bit-identical to before" if check.bit_identical else "tuned"
    if check.new_tokens:
        change = f"{check.new_tokens} tokens added"
    if check.perplexity is None or check.reference_perplexity is None:
        return f"Backbone: {change}."
    before, after = check.reference_perplexity, check.perplexity
    return f"Backbone: {change}. Language-model perplexity: {before:.2f} before, {after:.2f} after."
