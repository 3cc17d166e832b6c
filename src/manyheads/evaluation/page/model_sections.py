"""The sections on the whole model: its data, its language model, and how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from manyheads.evaluation.page.blocks import Section, Sentences
from manyheads.evaluation.report.made import Made
from manyheads.evaluation.report.report import Report


def model_sections(report: Report) -> list[Section]:
    """Return the sections that have something to show."""
    kept = "Backbone" if report.made is None or not report.made.has_lm else "Language model"
    parts = {"Evaluated data": _data(report), kept: _lm(report.made), "Model": _model(report.made)}
    found = {title: list(sentences) for title, sentences in parts.items()}
    return [Section(title, "", [Sentences(sentences)]) for title, sentences in found.items() if sentences]


def _data(report: Report) -> Iterator[str]:
    texts = next(iter(report.heads.values())).evaluated.texts
    lengths = np.array([len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts])
    low, middle, high = np.quantile(lengths, [0, 0.5, 1], method="nearest").tolist()
    yield f"{report.source}: {report.rows:,} rows with a label of any head, {len(set(texts)):,} different texts."
    yield f"Texts have {low:,} to {high:,} characters, half of them at most {middle:,}."
    for name, head in report.heads.items():
        yield f"{name}: {head.rows:,} rows have a label."


def _model(made: Made | None) -> Iterator[str]:
    if made is None:
        return
    kind = "a language model" if made.has_lm else "an encoder without a language-model head"
    yield f"The backbone is {made.backbone}, {kind}."
    for name, head in made.heads.items():
        rows = head.summary.get("rows", {}).get("train")
        if rows is not None:
            yield f"{name} was trained with {head.summary.get('method', 'an unknown method')} on {rows:,} rows."


def _lm(made: Made | None) -> Iterator[str]:
    checks = [] if made is None else [head.summary.get("lm_check") for head in made.heads.values()]
    for check in {str(check): check for check in checks if check}.values():
        yield _lm_sentence(check, made is not None and made.has_lm)


def _lm_sentence(check: Mapping[str, Any], has_lm: bool) -> str:
    """Return whether a training changed the backbone."""
    owner = "language model" if has_lm else "backbone"
    change = f"left the {owner} unchanged, bit for bit" if check["bit_identical"] else f"changed the {owner}"
    before, after = check.get("reference_perplexity"), check.get("perplexity")
    perplexity = "" if before is None or after is None else f"; perplexity {before:.2f} before, {after:.2f} after"
    tokens = f" {check['new_tokens']} tokens were added." if check.get("new_tokens") else ""
    return f"Training {change} ({check['compared']} compared){perplexity}.{tokens}"
