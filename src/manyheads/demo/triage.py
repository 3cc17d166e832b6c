"""The triage story: classifiers beside a language model of their own language, which stays as it is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import manyheads as mh
from manyheads.demo.checks import confirm
from manyheads.demo.job_ads import compare
from manyheads.demo.language_model import (
    LMSettings,
    new_language_model,
    perplexity,
    train_language_model,
    train_tokenizer,
)
from manyheads.demo.report import Comparison, comparison_table, heading, prediction_table, say, tick
from manyheads.demo.samples import Rows, diagnoses, split, texts_of

PROMPT = "Displaced fracture of"
ASKED = (
    "Chronic ulcer of the left heel with necrosis of muscle",
    "Fall from a ladder, first visit",
    "Benign tumour of the right kidney",
)


@dataclass(frozen=True)
class TriageSettings:
    """Sizes of the story.

    Attributes:
        rows: Of the sample; all by default.
        checked: Held-out texts on which the language models are compared.
        language_model: Of the GPT-2.
    """

    rows: int | None = None
    checked: int = 300
    language_model: LMSettings = field(default_factory=LMSettings)


def triage(lm_folder: Path, folder: Path, console: Console, settings: TriageSettings) -> mh.TrainResult:
    """Tell the story, and save its two models.

    Args:
        lm_folder: Where to save the language model, a plain transformers checkpoint; must not exist.
        folder: Where to save it with heads; must not exist.
        console: To print on.
        settings: Sizes.

    Raises:
        AssertionError: a claim that is printed does not hold.
    """
    started = time.perf_counter()
    rows = diagnoses()[: settings.rows]
    train_rows, held_out = split(rows)
    checked = texts_of(held_out)[: settings.checked]
    heading(console, "2. Triage: classifiers beside an unchanged language model")
    before = make_language_model(lm_folder, texts_of(train_rows), checked, console, settings.language_model)
    written = generate_plainly(lm_folder)
    model = mh.HeadedModel.from_pretrained(lm_folder)
    for name, spec in head_specs(rows).items():
        model.add_head(name, spec)
    result = mh.train(model, train_rows, text="text", eval_data=held_out, out=folder, method=mh.Frozen(cache=None))
    say(
        console,
        f"\nFour heads beside it, trained frozen in {result.seconds:.0f} s; one pass serves them all. 'chapter_stock' "
        "reads what stock classifiers read, the last token's last state, and 'chapter_said' what the LM head makes of "
        "that state; a search chose the features of the others:",
    )
    for name in ("chapter", "billable"):
        say(console, f"  {name}: {result.reads[name]}")
    comparisons = compare(model, result, train_rows, held_out, longest=2)
    console.print(comparison_table(comparisons, len(held_out)))
    _say_who_wins(comparisons, console)
    console.print(prediction_table(ASKED, model.predict(ASKED), {"chapter": "chapter", "billable": "billable"}))
    confirm_language_model(model, lm_folder, checked, before, console)
    confirm_generation(model, folder, written, console)
    say(console, f"The story took {time.perf_counter() - started:.0f} s.")
    return result


def head_specs(rows: Rows) -> dict[str, mh.Multiclass]:
    """Return three heads for the chapter, and one for whether a diagnosis is billable."""
    inferred = mh.infer_heads(rows, ["chapter", "billable"])
    chapter, billable = inferred["chapter"], inferred["billable"]
    assert isinstance(chapter, mh.Multiclass)
    assert isinstance(billable, mh.Multiclass)
    return {
        "chapter": chapter,
        "chapter_stock": mh.Multiclass(labels=chapter.labels, column="chapter", reads=mh.Hidden()),
        "chapter_said": mh.Multiclass(labels=chapter.labels, column="chapter", reads=mh.LMLogits(top_k=512)),
        "billable": billable,
    }


def make_language_model(
    folder: Path, texts: Sequence[str], checked: Sequence[str], console: Console, settings: LMSettings
) -> float:
    """Train a GPT-2 from scratch, save it as transformers does, and return its perplexity on held-out texts."""
    started = time.perf_counter()
    tokenizer = train_tokenizer(texts, settings.vocabulary)
    model = new_language_model(settings, tokenizer)
    untrained = perplexity(model, tokenizer, checked)
    train_language_model(model, tokenizer, texts, settings)
    trained = perplexity(model, tokenizer, checked)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    say(
        console,
        f"A GPT-2 of {size:.1f} M parameters, trained from scratch on {len(texts):,} diagnoses, {settings.steps} "
        f"steps in {time.perf_counter() - started:.0f} s.\n"
        f"Perplexity on {len(checked):,} held-out diagnoses: {untrained:,.0f} before, {trained:.2f} after.",
    )
    return trained


def generate_plainly(folder: Path) -> torch.Tensor:
    """Return the tokens that transformers alone generates from a checkpoint."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    return _generate(model, tokenizer)


def confirm_language_model(
    model: mh.HeadedModel, folder: Path, texts: Sequence[str], expected: float, console: Console
) -> None:
    """Check that the language model is the one in the folder, to the bit, and as good as it was."""
    found = mh.check_lm(model, folder, texts)
    confirm(found.bit_identical, "the language model's logits are bit-identical with heads beside it")
    confirm(found.perplexity == found.reference_perplexity, "its perplexity is the same")
    assert found.perplexity is not None
    confirm(math.isclose(found.perplexity, expected, rel_tol=1e-4), "its perplexity is the one measured by hand")
    tick(
        console,
        f"bit_identical={found.bit_identical}: the language model's logits on {len(texts):,} texts; perplexity "
        f"{found.reference_perplexity:.2f} without heads, {found.perplexity:.2f} with.",
    )


def confirm_generation(model: mh.HeadedModel, folder: Path, expected: torch.Tensor, console: Console) -> None:
    """Check that the same tokens come from the headed model, and from transformers alone on what was saved."""
    generated = _generate(model, model.tokenizer)
    confirm(torch.equal(generated, expected), "the headed model generates the same tokens")
    confirm(torch.equal(generate_plainly(folder), expected), "transformers opens what was saved and writes the same")
    text = model.tokenizer.decode(generated[0], skip_special_tokens=True)
    tick(console, f"the same tokens before, with heads, and by transformers alone from what was saved:\n  “{text}”")


def _say_who_wins(comparisons: Sequence[Comparison], console: Console) -> None:
    if any(item.tfidf > item.manyheads for item in comparisons):
        say(
            console,
            "Where words alone give a label away, as they do chapters, TF-IDF on words and pairs of them is hard to "
            "beat; the search found that too, and reads tokens. And the language model beside the heads is untouched:",
        )


def _generate(model: Any, tokenizer: Any) -> torch.Tensor:
    inputs = tokenizer(PROMPT, return_tensors="pt")
    tokens: torch.Tensor = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    return tokens
