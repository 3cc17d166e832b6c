"""Generate and predict in one pass over the prompts: heads read the prefill of ``generate``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from manyheads.backbone.limits import table_limit, token_limit
from manyheads.backbone.stack.right_padding import right_pad
from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import InputError, SecondPassWarning, listed
from manyheads.features.extract import check_finite
from manyheads.heads import Head
from manyheads.inference.continuations import Continuations, by_prompt, continuations
from manyheads.inference.predictions import Predictions
from manyheads.inference.scorer import Scorer
from manyheads.taps import BackboneTap
from manyheads.types import Features, Tokenizer

# Arguments of ``generate`` that are made from the prompts.
_FROM_PROMPTS = ("inputs", "input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")


def generate_and_predict(
    core: HeadedCore,
    tokenizer: Tokenizer,
    prompts: Texts,
    heads: Iterable[str] | None,
    options: Mapping[str, Any],
) -> tuple[Continuations, Predictions]:
    """Continue prompts as ``generate`` does and predict them as ``Scorer`` does.

    Features that a prefill does not compute are read in another pass: under a prompt, in a LoRA adapter, of a pooler,
    and those of heads that were trained in another precision.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        prompts: All of them are one batch.
        heads: Names of heads; all by default.
        options: Options of ``generate``.

    Returns:
        Per prompt, the generated text, or a list of them if there are several; and the predictions.

    Raises:
        NoLanguageModelError: the backbone does not generate text.
        HeadError: there is no head.
        InputError: an option that the prompts become, or a prompt that leaves no room for new tokens.
    """
    _check_options(options)
    core.backbone.check_generates()
    heads = None if heads is None else [*core.heads.chosen(heads)]
    scorer = Scorer(core, tokenizer)
    loaded = scorer.in_loaded_precision(heads)
    texts: list[str] = []

    def run(tokenized: Tokenized) -> Mapping[BackboneTap, Features]:
        if not len(tokenized):
            return {}
        _check_room(core, tokenizer, tokenized, options)
        output, features = _generate(core, tokenizer, tokenized, _prefill_taps(core, loaded), options)
        texts.extend(_texts(core, tokenizer, tokenized, getattr(output, "sequences", output)))
        return features

    predictions = scorer.with_pass(prompts, heads, run)
    _warn_of_precision(core, {name: core.heads[name] for name in predictions.heads if name not in loaded})
    return by_prompt(texts, len(predictions)) if texts else [], predictions


def _check_options(options: Mapping[str, Any]) -> None:
    for name in _FROM_PROMPTS:
        if name in options:
            raise InputError(
                f"generate_and_predict: {name} is made from the prompts; leave it out, or call generate and predict"
            )


def _check_room(core: HeadedCore, tokenizer: Tokenizer, tokenized: Tokenized, options: Mapping[str, Any]) -> None:
    asked = options.get("max_new_tokens")
    new = max(asked, 1) if isinstance(asked, int) else 1
    most, lengths = _longest_prompt(core.backbone.model, tokenizer, new), tokenized.lengths
    if most is not None and lengths.max() > most:
        row = int((lengths > most).argmax())
        raise InputError(
            f"The list of prompts, row {row + 1}: has {lengths[row]} tokens, {core.backbone.name} has room for {most} "
            f"before {new} new ones ({(lengths > most).sum()} such prompts); shorten it, or lower max_new_tokens"
        )


def _longest_prompt(model: nn.Module, tokenizer: Tokenizer, new: int) -> int | None:
    """Return the most tokens of a prompt before ``new`` tokens, or ``None``."""
    if model.config.is_encoder_decoder:  # type: ignore[union-attr]
        return None  # the decoder has positions of its own
    table, limit = table_limit(model), token_limit(model, tokenizer)
    # Only a table of learned positions ends for certain. The last new token takes no position: it is never read.
    known = ([] if table is None else [table - new + 1]) + ([] if limit is None else [limit - 1])
    return min(known, default=None)


def _prefill_taps(core: HeadedCore, heads: Mapping[str, Head]) -> list[BackboneTap]:
    """Return the taps whose features come from a prefill."""
    facts, generation = core.backbone.facts, core.backbone.generation
    taps = dict.fromkeys(tap.stored for tap in core.heads.taps_of(heads) if tap.needs_pass(facts))
    return [tap for tap in taps if generation.serves(tap.request(facts))]


def _generate(
    core: HeadedCore,
    tokenizer: Tokenizer,
    tokenized: Tokenized,
    taps: Sequence[BackboneTap],
    options: Mapping[str, Any],
) -> tuple[Any, dict[BackboneTap, Features]]:
    """Return the output of ``generate``, and the features of the prompts by tap, on the CPU."""
    rows = np.arange(len(tokenized))
    padded = right_pad(tokenized.batch(rows).to(core.backbone.device))
    pad, filled = _with_padding(core, tokenizer, options)
    output, states = core.backbone.generation(padded, core.request(taps), pad, filled)
    if states is None:
        if taps:
            warnings.warn(
                f"{core.backbone.name}: with these options or prompts, generate does not compute what heads read, so "
                "they read the prompts in a second pass",
                SecondPassWarning,
                stacklevel=6,
            )
        return output, {}
    with torch.no_grad():
        read = {tap: tap.read(states) for tap in taps}
    check_finite(core, rows, read)
    return output, {tap: features.cpu() for tap, features in read.items()}


def _with_padding(core: HeadedCore, tokenizer: Tokenizer, options: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the id of padding, and the options with it where ``generate`` would have to guess it."""
    filled = dict(options)
    if filled.get("stop_strings"):
        filled.setdefault("tokenizer", tokenizer)
    config: Any = options.get("generation_config") or core.backbone.model.generation_config
    end = filled.get("eos_token_id", config.eos_token_id)
    end = end[0] if isinstance(end, list) and end else end
    if "generation_config" not in options and config.pad_token_id is None and isinstance(end, int):
        filled.setdefault("pad_token_id", end)
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, end, 0)
    return next(int(pad) for pad in known if isinstance(pad, int)), filled


def _texts(core: HeadedCore, tokenizer: Tokenizer, tokenized: Tokenized, sequences: torch.Tensor) -> list[str]:
    """Return the generated texts, in the order of the sequences."""
    rows = sequences.tolist()
    count = len(rows) // len(tokenized)
    if core.backbone.model.config.is_encoder_decoder:  # type: ignore[union-attr]
        return continuations(tokenizer, [[]] * len(rows), rows)
    lengths = np.repeat(tokenized.lengths, count)
    prompts = [tokenized.ids(number // count) for number in range(len(rows))]
    unpadded = [row[lengths.max() - length :] for row, length in zip(rows, lengths, strict=True)]
    return continuations(tokenizer, prompts, unpadded)


def _warn_of_precision(core: HeadedCore, heads: Mapping[str, Head]) -> None:
    facts = core.backbone.facts
    names = [name for name in heads if any(tap.needs_pass(facts) for tap in core.heads.taps_of([name]))]
    if names:
        precision = heads[names[0]].summary["precision"]
        warnings.warn(
            f"Heads {listed(names)}: were trained on {precision} features, which generate does not compute here, so "
            f"they read the prompts in a second pass; load the model with dtype={precision!r}, or train them in its "
            "precision: Frozen(dtype=...)",
            SecondPassWarning,
            stacklevel=4,
        )
