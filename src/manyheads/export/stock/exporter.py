"""Export a head as a stock classifier of transformers, which pipelines and servers load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from manyheads.backbone.stock_classes import build, reload, save, sequence_classifier_class, token_classifier_class
from manyheads.core import HeadedCore
from manyheads.errors import ExportError, ManyheadsError, one_line
from manyheads.export.by_head import HeadExporter, Write
from manyheads.export.exporter import Written
from manyheads.export.linear import ExportedHead
from manyheads.export.notes import notes_on
from manyheads.export.origin import output_names
from manyheads.export.probe import Probe, probe_of, stock_logits
from manyheads.export.stack import cut_config, load_stack, pooler_layer
from manyheads.export.stock.card import stock_card
from manyheads.export.stock.config import check_kind, describe, pad
from manyheads.export.stock.placing import PLACEMENTS, ClassifierLayers, classifier_layers
from manyheads.export.stock.reasons import Attempt, reason
from manyheads.export.tokenizer import exported_tokenizer


class StockExporter(HeadExporter):
    """Writes ``AutoModelForSequenceClassification`` and ``AutoModelForTokenClassification`` checkpoints."""

    name: ClassVar[str] = "transformers"
    purpose: ClassVar[str] = "a stock classifier for pipeline() and servers"

    def prepare(self, core: HeadedCore, tokenizer: Any, head: ExportedHead) -> Write:
        """Build the stock classifier; see ``HeadExporter``."""
        check_kind(head)
        own_tokenizer = exported_tokenizer(tokenizer, core.backbone, head.owner)
        probe = probe_of(core, tokenizer, head)
        with _errors_of_the_class(head):
            model = _initial_model(core, own_tokenizer, head)
            placed = _place(core, head, model, own_tokenizer, probe)
        notes = [*placed, *notes_on(core, head, own_tokenizer, probe)]

        def write(folder: Path) -> Written:
            save(model, own_tokenizer, folder)
            difference = probe.difference(
                stock_logits(reload(type(model), folder, core.backbone.device), own_tokenizer, probe)
            )
            card = stock_card(core, head, type(model).__name__, notes, difference)
            return Written(card, difference, probe.scale, probe.drift, notes)

        return write


@contextmanager
def _errors_of_the_class(head: ExportedHead) -> Iterator[None]:
    """Raise whatever the code of a stock class raises as an error of this head."""
    try:
        yield
    except ManyheadsError:
        raise
    except Exception as error:
        raise ExportError(
            f"{head.owner}: the stock class of its backbone raises an error: {one_line(error)}; use the model itself "
            "(model.predict)"
        ) from error


def _initial_model(core: HeadedCore, tokenizer: Any, head: ExportedHead) -> nn.Module:
    """Return the stock classifier with the head's labels and initial weights."""
    config = cut_config(core, head)
    model_class = _class_for(config, head)
    describe(config, head)
    pad(config, tokenizer, core.backbone.facts.causal)
    return build(model_class, config, core.backbone.device)


def _class_for(config: Any, head: ExportedHead) -> Any:
    """Return the stock class.

    Raises:
        ExportError: transformers has none for this architecture, or one that reads a decoder.
    """
    by_word = head.head.spec.by_word
    found = (token_classifier_class if by_word else sequence_classifier_class)(config)
    if found is None:
        auto = f"AutoModelFor{'Token' if by_word else 'Sequence'}Classification"
        raise ExportError(
            f"{head.owner}: transformers has no {auto} for {config.model_type!r}; use the model itself (model.predict)"
        )
    if config.is_encoder_decoder and not by_word:
        raise ExportError(
            f"{head.owner}: reads the encoder, and {found.__name__} reads its decoder; use the model itself "
            "(model.predict)"
        )
    return found


def _place(core: HeadedCore, head: ExportedHead, model: nn.Module, tokenizer: Any, probe: Probe) -> list[str]:
    """Write backbone and head into a stock classifier, in the first way that gives the head's logits; return notes.

    Raises:
        ExportError: none does.
    """
    stack = load_stack(model, core, head)
    layers = classifier_layers(model, stack, len(output_names(head)), pooler_layer(core, head))
    if layers is None:
        raise ExportError(
            f"{head.owner}: {type(model).__name__} has no output layer with {len(output_names(head))} outputs; use the "
            "model itself (model.predict)"
        )
    for placement in PLACEMENTS:
        if placement.place(layers, head) and probe.agrees(stock_logits(model, tokenizer, probe)):
            return [*placement.notes, *_bias_notes(layers, head)]
    raise ExportError(f"{head.owner}: {reason(Attempt(core, head, model, layers, tokenizer, probe))}")


def _bias_notes(layers: ClassifierLayers, head: ExportedHead) -> list[str]:
    if layers.has_bias or not bool(head.output.bias.any()):
        return []
    return ["The class has no bias in its output layer: the bias of the final norm carries it."]
