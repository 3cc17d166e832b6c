"""The options of ``generate``: those that prompts replace, and those that a tokenizer and a batch need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from manyheads.backbone import Backbone
from manyheads.backbone.limits import token_limit
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import InputError
from manyheads.types import Tokenizer

# Arguments that are made from the prompts.
_FROM_PROMPTS = ("inputs", "input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
# Options for which ``generate`` needs a tokenizer.
_NEEDING_TOKENIZER = ("stop_strings", "token_healing")


def check_options(options: Mapping[str, Any]) -> None:
    """Check that no option contradicts the prompts.

    Raises:
        InputError: an argument that is made from the prompts.
    """
    for name in _FROM_PROMPTS:
        if name in options:
            raise InputError(
                f"generate_and_predict: {name} is made from the prompts; leave it out, or call generate and predict"
            )


def completed(options: Mapping[str, Any], model: nn.Module, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the options with those that ``generate`` would ask for or guess: a tokenizer, and the id of padding."""
    config, filled = _config(options, model), dict(options)
    if any(options.get(name, getattr(config, name, None)) for name in _NEEDING_TOKENIZER):
        filled.setdefault("tokenizer", tokenizer)
    end = _end_of_text(options, model)
    # Options beside a generation_config are deprecated in transformers.
    if config.pad_token_id is None and end is not None and "generation_config" not in options:
        filled.setdefault("pad_token_id", end)
    return filled


def padding_id(options: Mapping[str, Any], model: nn.Module, tokenizer: Tokenizer) -> int:
    """Return the id of the padding before prompts; a repetition penalty, for one, makes a difference between ids."""
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, _end_of_text(options, model), 0)
    return next(pad for pad in known if pad is not None)


def end_ids(options: Mapping[str, Any], model: nn.Module) -> frozenset[int]:
    """Return the ids of the tokens that end a sequence."""
    end = options.get("eos_token_id", _config(options, model).eos_token_id)
    return frozenset(end if isinstance(end, list | tuple) else [] if end is None else [int(end)])


def filler_id(options: Mapping[str, Any], model: nn.Module) -> int | None:
    """Return the id after the end of a sequence that is shorter than others, as far as the options show it."""
    pad = options.get("pad_token_id", _config(options, model).pad_token_id)
    return _end_of_text(options, model) if pad is None else int(pad)


def sequences_of_prompt(options: Mapping[str, Any], model: nn.Module) -> int:
    """Return the number of sequences of each prompt."""
    return int(options.get("num_return_sequences") or _config(options, model).num_return_sequences or 1)


def most_new_tokens(options: Mapping[str, Any], model: nn.Module) -> int | None:
    """Return the most tokens of a sequence after its prompt, or ``None`` if only the length with it is limited."""
    most = options.get("max_new_tokens", _config(options, model).max_new_tokens)
    return None if most is None else int(most)


def stop_strings_of(options: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Return the strings at which ``generate`` stops."""
    strings = options.get("stop_strings", getattr(_config(options, model), "stop_strings", None)) or []
    return [strings] if isinstance(strings, str) else list(strings)


def check_room(tokenized: Tokenized, options: Mapping[str, Any], backbone: Backbone, tokenizer: Tokenizer) -> None:
    """Check that every prompt leaves room for new tokens.

    Raises:
        InputError: a prompt that does not.
    """
    asked = options.get("max_new_tokens")
    new = max(asked, 1) if isinstance(asked, int) else 1
    most, lengths = _longest_prompt(backbone, tokenizer, new), tokenized.lengths
    if most is not None and lengths.max() > most:
        row = int((lengths > most).argmax())
        raise InputError(
            f"The list of prompts, row {row + 1}: has {lengths[row]} tokens, {backbone.name} has room for "
            f"{most} before {new} new ones ({(lengths > most).sum()} such prompts); shorten it, or lower max_new_tokens"
        )


def _longest_prompt(backbone: Backbone, tokenizer: Tokenizer, new: int) -> int | None:
    """Return the most tokens of a prompt before ``new`` tokens, or ``None``."""
    if backbone.model.config.is_encoder_decoder:  # type: ignore[union-attr]
        return None  # the decoder has positions of its own
    table, limit = backbone.trunk.token_limit, token_limit(backbone.model, tokenizer)
    # Only a table of learned positions ends for certain. The last new token takes no position: it is never read.
    known = ([] if table is None else [table - new + 1]) + ([] if limit is None else [limit - 1])
    return min(known, default=None)


def _config(options: Mapping[str, Any], model: nn.Module) -> Any:
    return options.get("generation_config") or model.generation_config


def _end_of_text(options: Mapping[str, Any], model: nn.Module) -> int | None:
    end = options.get("eos_token_id", _config(options, model).eos_token_id)
    first = end[0] if isinstance(end, list) and end else end
    return first if isinstance(first, int) else None
