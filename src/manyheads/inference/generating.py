"""Generate and predict in one pass over the prompts: heads read the prefill of ``generate``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.errors import SecondPassWarning, listed
from manyheads.heads import Head
from manyheads.inference.continuations import Continuations, by_prompt
from manyheads.inference.generate_options import check_options
from manyheads.inference.predictions import Predictions
from manyheads.inference.prompt_generation import PromptGeneration
from manyheads.inference.scorer import Scorer
from manyheads.types import Tokenizer


def generate_and_predict(
    core: HeadedCore,
    tokenizer: Tokenizer,
    prompts: Texts,
    heads: Iterable[str] | None,
    options: Mapping[str, Any],
) -> tuple[Continuations, Predictions]:
    """Continue prompts as ``generate`` does and predict them as ``Scorer`` does.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        prompts: All of them are one batch.
        heads: Names of heads; all by default.
        options: Options of ``generate``.

    Returns:
        For each prompt the generated text, or a list of texts if there are several; and the predictions.

    Raises:
        NoLanguageModelError: the backbone does not generate text.
        HeadError: there is no head.
        InputError: an option that is made from the prompts, or a prompt that leaves no room for new tokens.
    """
    check_options(options)
    core.backbone.check_generates()
    scorer = Scorer(core, tokenizer)
    chosen = scorer.chosen(heads)
    loaded = scorer.in_loaded_precision(chosen)
    prepared = scorer.prepare(prompts, chosen)
    tokenized = prepared.whole
    if not len(tokenized):
        return [], scorer.predict_prepared(prepared)
    generation = PromptGeneration(core, tokenizer, tokenized, loaded, options)
    texts = generation.texts(generation.run())
    predictions = scorer.predict_prepared(prepared, generation.features())
    warn_of_precision(core, {name: head for name, head in chosen.items() if name not in loaded})
    return by_prompt(texts, len(predictions)), predictions


def warn_of_precision(core: HeadedCore, heads: Mapping[str, Head]) -> None:
    """Warn of heads that are asked in another precision than the loaded one, if any."""
    facts = core.backbone.facts
    names = [name for name in heads if any(tap.needs_pass(facts) for tap in core.heads.taps_of([name]))]
    if names:
        precision = heads[names[0]].summary["precision"]
        loaded = str(next(core.backbone.stack.parameters()).dtype).removeprefix("torch.")
        warnings.warn(
            f"Heads {listed(names)}: were trained on {precision} features and the language model runs in {loaded}, so "
            f"they read the prompts in a second pass; load the model with dtype={precision!r} for one pass",
            SecondPassWarning,
            stacklevel=4,
        )
