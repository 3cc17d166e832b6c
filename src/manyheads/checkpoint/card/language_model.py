"""Whether the language model is still the one that the backbone came with, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.checkpoint.card.markdown import code
from manyheads.checkpoint.card.training import perplexities
from manyheads.checkpoint.format import BackboneRecord, Checkpoint


def language_model_sentences(checkpoint: Checkpoint, has_language_model: bool) -> list[str]:
    """Return what is known of the backbone's weights and of the language model in them."""
    none = [] if has_language_model else ["It has no language model."]
    return [_weights(checkpoint.backbone, has_language_model), *none, *_perplexities(checkpoint)]


def _weights(backbone: BackboneRecord, has_language_model: bool) -> str:
    origin = "the checkpoint that the heads were first added to" if backbone.base is None else f"`{backbone.base}`"
    subject = "language model" if has_language_model else "backbone"
    if backbone.tuned is None:
        return f"The {subject} was a model in memory, so there are no files to compare it with."
    if backbone.tuned:
        return f"The {subject} is **changed**: its weights or its tokens are not those of {origin}."
    return f"The {subject} is **unchanged**: its weights are those of {origin}, bit for bit."


def _perplexities(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield a sentence on every training that measured perplexity; heads that were trained together share one."""
    trainings: dict[tuple[float, float], list[str]] = {}
    for name, head in checkpoint.heads.items():
        measured = perplexities(head)
        if measured is not None:
            trainings.setdefault(measured, []).append(code(name))
    for (before, after), heads in trainings.items():
        yield (
            f"Its perplexity on the evaluation texts of {', '.join(heads)} was {before:.2f} before that training and "
            f"{after:.2f} after it."
        )
