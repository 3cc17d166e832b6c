"""``manyheads inspect``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from manyheads.checkpoint.format import BranchRecord, HeadRecord, read_checkpoint
from manyheads.checkpoint.load import is_checkpoint
from manyheads.checkpoint.open_model import saved_folder
from manyheads.cli.chart import learning_curve, search_chart
from manyheads.cli.tables import metric_lines
from manyheads.errors import NotACheckpointError, counted
from manyheads.heads import Decision, write_spec
from manyheads.taps import write_tap


def run_inspect(name: str, as_json: bool) -> None:
    """Show a saved model or checkpoint; no weights are loaded."""
    facts = _facts(saved_folder(name))
    if as_json:
        print(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        _show(name, facts)


def _facts(folder: Path) -> dict[str, Any]:
    if not is_checkpoint(folder):
        return {"backbone": _plain(folder), "branches": {}, "heads": {}}
    checkpoint = read_checkpoint(folder)
    record = checkpoint.backbone
    backbone = {
        "kind": record.kind,
        "architecture": record.architecture,
        "name": record.name,
        "revision": record.revision,
        "fingerprint": record.fingerprint,
    }
    return {
        "backbone": backbone,
        "branches": {name: _branch(branch) for name, branch in checkpoint.branches.items()},
        "heads": {name: _head(head) for name, head in checkpoint.heads.items()},
    }


def _plain(folder: Path) -> dict[str, Any]:
    config = folder / "config.json"
    if not config.is_file():
        raise NotACheckpointError(f"{folder}: contains neither heads.json nor config.json; check the path")
    settings = json.loads(config.read_text("utf-8"))
    return {"kind": "plain", "architecture": (settings.get("architectures") or ["?"])[0], "name": str(folder)}


def _branch(branch: BranchRecord) -> dict[str, Any]:
    weights = sum(math.prod(shape) for shape in branch.tensors.values())
    return {"kind": branch.kind, "settings": branch.settings, "weights": weights}


def _head(head: HeadRecord) -> dict[str, Any]:
    return {
        "spec": write_spec(head.spec),
        "reads": [write_tap(tap) for tap in head.taps],
        "trained": head.trained,
        "decision": asdict(head.decision),
        "summary": head.summary,
    }


def _show(name: str, facts: dict[str, Any]) -> None:
    console = Console(highlight=False)
    backbone = facts["backbone"]
    console.print(f"{name}: {backbone['architecture']} ({backbone['kind']})", markup=False)
    for branch, record in facts["branches"].items():
        settings = ", ".join(f"{key} {_setting(value)}" for key, value in record["settings"].items())
        console.print(f"{branch}: {settings}; {record['weights']:,} weights that only heads use", markup=False)
    if not facts["heads"]:
        console.print("No heads yet; add some with manyheads train")
        return
    table = RichTable(box=box.SIMPLE)
    for title in ("head", "reads", "metrics"):
        # Words may wrap in a narrow terminal, but a truncated number would be a wrong number.
        table.add_column(title, no_wrap=title == "metrics", overflow="fold")
    for head, record in facts["heads"].items():
        table.add_row(*_cells(head, record))
    console.print(table)
    for head, record in facts["heads"].items():
        decided = _decided(Decision(**record["decision"]))
        if decided:
            console.print(f"{head}: {', '.join(decided)}", markup=False, soft_wrap=True)
        curve = learning_curve(record["summary"].get("history", []))
        if curve:
            console.print(f"{head}: {curve}", markup=False)
        lines = search_chart(record["summary"].get("tried", []), record["reads"])
        if lines:
            console.print(f"{head}: how well each layer explains the labels of held-out rows", markup=False)
            for line in lines:
                console.print(f"  {line}", markup=False)


def _setting(value: Any) -> str:
    """Return a branch's setting as text; for a list of layers, the last parts of their names."""
    if not isinstance(value, list):
        return str(value)
    return f"{' '.join(sorted({item.rpartition('.')[2] for item in value}))} ({len(value)} layers)"


def _cells(name: str, record: dict[str, Any]) -> list[str]:
    labels = record["spec"].get("labels")
    summary = record["summary"]
    rows = summary.get("rows", {}).get("train")
    untrained = "zero-shot" if record["spec"].get("zero_shot") else "untrained"
    trained = counted(rows, "training row") if rows is not None else ("trained" if record["trained"] else untrained)
    reads = "\n".join(_reads(*pair) for pair in _with_own_layers(record))
    kind = f"{record['spec']['kind']}, {counted(len(labels), 'label')}" if labels else record["spec"]["kind"]
    about = "\n  ".join([name, kind, trained])
    return [about, reads, metric_lines(summary.get("metrics", {}))]


def _decided(decision: Decision) -> list[str]:
    """Return a clause on each setting of a decision that differs from its default."""
    clauses = [] if decision.temperature == 1 else [f"temperature {decision.temperature:.3g}"]
    if decision.thresholds is not None:
        low, high = min(decision.thresholds), max(decision.thresholds)
        clauses.append(f"threshold {low:g}" if low == high else f"thresholds {low:g} to {high:g}")
    if decision.abstain_below is not None:
        clauses.append(f"abstains below {decision.abstain_by} {decision.abstain_below:.3g}{_error_promise(decision)}")
    if decision.set_threshold is not None:
        promise = "" if decision.set_coverage is None else f" that cover {decision.set_coverage:.3g}"
        clauses.append(f"{decision.set_by} sets{promise}")
    if decision.costs is not None:
        clauses.append(f"costs up to {max(map(max, decision.costs)):g}")
    return clauses


def _error_promise(decision: Decision) -> str:
    if decision.max_error is None:
        return ""
    confidence = "" if decision.confidence is None else f", confidence {decision.confidence:.3g}"
    return f" (at most {decision.max_error:.3g} of the answers wrong{confidence})"


# Settings of taps that are shown without their names, and values that are not shown.
_PLAIN = ("tap", "layer", "pool", "subword", "unit", "head")
_USUAL = (("normalize", False), ("unit", "token"), ("ngrams", [1, 1]), ("window", 0))


def _with_own_layers(record: dict[str, Any]) -> list[tuple[dict[str, Any], Any]]:
    """Return each resolved tap with the layer as written in the spec."""
    requested = record["spec"]["reads"]
    requested = [requested] if isinstance(requested, dict) else requested
    if isinstance(requested, str) or len(requested) != len(record["reads"]):
        return [(tap, tap.get("layer")) for tap in record["reads"]]
    return [(tap, own.get("layer")) for tap, own in zip(record["reads"], requested, strict=True)]


def _reads(tap: dict[str, Any], layer: Any) -> str:
    if "reads" in tap:
        inner = tap["reads"]
        where = tap["branch"] if "branch" in tap else repr(tap["prompt"])
        return f"{_reads(inner, inner.get('layer') if layer is None else layer)} of {where}"
    if "layer" in tap:
        tap = {**tap, "layer": layer}
    return " ".join(shown for key, value in tap.items() for shown in _setting_of_tap(key, value))


def _setting_of_tap(key: str, value: Any) -> list[str]:
    """Return a tap's setting as text: its name only where the value does not say what it is; none for defaults."""
    if value is None or (key, value) in _USUAL:
        return []
    if value is True:
        return [key]
    return [str(value)] if key in _PLAIN else [f"{key} {value}"]
