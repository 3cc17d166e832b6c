"""Add an untrained head to a core."""

from __future__ import annotations

import warnings

from manyheads.core.module import HeadedCore
from manyheads.errors import HeadError, InputWarning
from manyheads.heads import Head, HeadSpec
from manyheads.heads.names import check_name


def add_head(core: HeadedCore, name: str, spec: HeadSpec) -> Head:
    """Build a head with its starting weights, add it under a name, and return it.

    Raises:
        HeadNameError: the name is taken, reserved, or contains a dot or a slash.
        HeadError: the backbone cannot provide the head's features, or the head reads a head that is not there.
    """
    if not isinstance(spec, HeadSpec):
        raise HeadError(f"Head {name!r}: add_head needs a spec such as Multiclass(labels=[...]), got {spec!r:.60}")
    check_name(name)
    try:
        head = core.start_head(core.build_head(spec))
    except HeadError as error:
        raise type(error)(f"Head {name!r}: {error}") from error
    core.heads.add(name, head)
    _warn_of_loose_space(core, name, head)
    return head


def _warn_of_loose_space(core: HeadedCore, name: str, head: Head) -> None:
    prompt_tokenizer = core.backbone.prompt_tokenizer
    prompts = core.request(head.backbone_taps).prompts
    if prompt_tokenizer is not None and any(prompt_tokenizer.has_separate_space(prompt) for prompt in prompts):
        warnings.warn(
            f"Head {name!r}: the prompt has a space before {{text}} or at its end, which the tokenizer encodes as a "
            "separate token; use a newline or remove the space",
            InputWarning,
            stacklevel=4,
        )
