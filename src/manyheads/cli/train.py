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

from manyheads.checkpoint.atomic import check_free
from manyheads.cli.tables import metric_lines, read_input
from manyheads.data.infer import explain, infer_heads
from manyheads.data.table import Table
from manyheads.errors import HeadError
from manyheads.features import open_cache
from manyheads.heads import HeadSpec, LabelledSpec
from manyheads.model import HeadedModel, train
from manyheads.taps import Hidden, Tap
from manyheads.training import Frozen, Method, TrainResult


@dataclass(frozen=True)
class HeadSettings:
    """What the options say of every new head."""

    layer: str | None
    pool: str | None
    hidden: tuple[int, ...]
    dropout: float
    balanced: bool

    def apply(self, spec: HeadSpec, column: str | None) -> HeadSpec:
        """Return the inferred spec with these settings."""
        weights = "balanced" if self.balanced and isinstance(spec, LabelledSpec) else None
        return dataclasses.replace(
            spec, column=column, reads=self._reads(), hidden=self.hidden, dropout=self.dropout, class_weights=weights
        )

    def _reads(self) -> Tap | str:
        """Return the tap that was named, or ``"auto"``: then it is searched."""
        if self.layer is None and self.pool is None:
            return "auto"
        pool = self.pool or "auto"
        if self.layer in {None, "mix"}:
            return Hidden(layer=self.layer or -1, pool=pool)
        try:
            return Hidden(layer=int(str(self.layer)), pool=pool)
        except ValueError as error:
            if isinstance(error, HeadError):
                raise
            raise HeadError(f"--layer must be a whole number or 'mix', got {self.layer!r}") from None


@dataclass(frozen=True)
class MethodSettings:
    """What the options say of how to train.

    Attributes:
        name: ``"frozen"`` or ``"full"``.
        cache: Where features are kept; ``"none"`` for nowhere.
        dtype: Precision of a feature pass.
        tuning: Settings of a method that tunes the backbone, as far as they were given.
    """

    name: str
    cache: str
    dtype: str
    tuning: Mapping[str, Any]

    def build(self) -> Method:
        """Return the method.

        Raises:
            HeadError: no method of that name, or a setting that it does not have.
            CacheError: the cache is no folder.
        """
        if self.name == "full":
            from manyheads.training.full import Full

            return Full(**self.tuning)
        if self.name != "frozen":
            raise HeadError(f"--method must be 'frozen' or 'full', got {self.name!r}")
        if self.tuning:
            option = "--" + next(iter(self.tuning)).replace("_", "-")
            raise HeadError(f"{option} belongs to --method full; leave it out, or tune the backbone with --method full")
        cache = None if self.cache == "none" else self.cache
        open_cache(cache)
        return Frozen(cache=cache, dtype=self.dtype)


@dataclass(frozen=True)
class TrainRequest:
    """What the options say."""

    data: str
    backbone: str
    text: tuple[str, ...]
    heads: tuple[str, ...]
    out: Path
    settings: HeadSettings
    evaluate: str | None
    eval_fraction: float
    max_length: int | None
    long_text: str
    seed: int
    method: MethodSettings
    file_format: str
    overwrite: bool
    trust_remote_code: bool


def run_train(request: TrainRequest, as_json: bool) -> None:
    """Read, infer, train, save, and report."""
    console = Console(stderr=True)
    # Whatever can be refused is refused before a backbone is loaded.
    method = request.method.build()
    check_free(request.out, request.overwrite)
    table = read_input(request.data, request.file_format)
    columns = dict(_named(head) for head in request.heads)
    text = request.text[0] if len(request.text) == 1 else request.text
    for column in request.text:
        table.values(column)
    model = HeadedModel.from_pretrained(request.backbone, trust_remote_code=request.trust_remote_code)
    _add_heads(model, table, columns, request.settings, console)
    result = train(
        model,
        table,
        text=text,
        method=method,
        heads=list(columns),
        eval_data=request.evaluate,
        eval_fraction=request.eval_fraction,
        max_length=request.max_length,
        long_text=request.long_text,
        seed=request.seed,
        out=request.out,
        overwrite=request.overwrite,
    )
    if as_json:
        print(json.dumps(_as_json(result), ensure_ascii=False, indent=1))
    else:
        _show(result, console)


def _named(head: str) -> tuple[str, str]:
    name, _, column = head.partition("=")
    return name, column or name


def _add_heads(
    model: HeadedModel, table: Table, columns: dict[str, str], settings: HeadSettings, console: Console
) -> None:
    """Add the heads that the model does not have yet; those it has are trained anew as they are."""
    new = {name: column for name, column in columns.items() if name not in model.heads}
    if not new:
        return
    inferred = infer_heads(table, list(dict.fromkeys(new.values())))
    for line in explain(inferred):
        console.print(line, markup=False, highlight=False)
    for name, column in new.items():
        model.add_head(name, settings.apply(inferred[column], None if column == name else column))


def _as_json(result: TrainResult) -> dict[str, Any]:
    return {
        "metrics": result.metrics,
        "rows": result.rows,
        "search": {name: [trial.record() for trial in trials] for name, trials in result.search.items()},
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
        console.print(f"{name} reads {reads}", markup=False, highlight=False)
    for note in result.notes:
        console.print(note, markup=False, highlight=False)
    untouched = "bit-identical to before" if result.lm_check.bit_identical else "tuned"
    check = result.lm_check
    if check.perplexity is not None and check.reference_perplexity is not None:
        untouched += (
            f", its language model's perplexity {check.reference_perplexity:.2f} before, {check.perplexity:.2f} now"
        )
    console.print(f"Backbone: {untouched}. Saved in {result.out} after {result.seconds:.1f} s.", highlight=False)
