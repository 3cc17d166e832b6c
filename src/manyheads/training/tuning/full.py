"""Tune the backbone itself, all of it or its top blocks, together with every head, in one joint loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from manyheads.backbone import Backbone
from manyheads.backbone.branches.fork import after, top_blocks
from manyheads.core import HeadedCore
from manyheads.errors import BackboneError, MethodError, listed
from manyheads.heads import Head
from manyheads.taps import Branched
from manyheads.training.dataset import TrainingData
from manyheads.training.tuning.learning_rates import depth_rates, head_rates
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.training.tuning.method import Tuning, check_steppable, coarse_note
from manyheads.training.tuning.step_module import Replay, TrainableCore, TuningPlan, collate_rows, evaluated


@dataclass(frozen=True)
class Full(Tuning):
    """Tune the backbone with the heads.

    The language model changes with the backbone; ``lm_weight`` adds its own loss on the same texts, so that it keeps
    what it knew, and the result compares its perplexity on the evaluation texts before and after.

    Args:
        top: Tune the top k blocks alone; ``None`` tunes the whole backbone.
        layer_decay: Factor on ``lr`` for each block further down (Howard and Ruder 2018, discriminative fine-tuning).
        lm_weight: Factor of the causal language model's loss on the training texts.
        replay: Other texts for that loss, such as those the language model was tuned on: a list of strings, or a table
            with the same text columns. As many of them as there are rows join each step.

    The other settings are those of every method that steps: see :class:`manyheads.training.tuning.method.Tuning`.

    Raises:
        MethodError: a setting out of its range.
    """

    top: int | None = None
    layer_decay: float = field(default=1.0, kw_only=True)
    lm_weight: float = field(default=0.0, kw_only=True)
    replay: str | Path | Sequence[str] | Any = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_number("layer_decay", above=0.0)
        self.check_number("lm_weight")
        if self.top is not None:
            self.check_whole("top")
        if self.replay is not None and self.lm_weight == 0:
            raise MethodError("Full: replay holds texts for the language model's loss; give it an lm_weight above 0")

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings; of other texts, only whether there were any."""
        return super().describe() | {"replay": self.replay is not None}

    @property
    def other_texts(self) -> object:
        """The texts for the language model's loss."""
        return self.replay

    @property
    def lm_factor(self) -> float:
        """Factor of the language model's loss."""
        return self.lm_weight

    def check(self, core: HeadedCore, heads: Mapping[str, Head]) -> None:
        """Refuse an LM loss without a causal LM, blocks that are not there, and branches that would be undermined."""
        backbone = core.backbone
        check_steppable(backbone, self.name)
        if self.lm_weight > 0 and (backbone.lm is None or not backbone.facts.causal):
            raise BackboneError(f"{backbone.name}: lm_weight needs a causal language model; leave it at 0")
        if self.top is not None or self.layer_decay != 1.0:
            top_blocks(backbone.stack, len(backbone.facts.widths), self.top or 1)
        others = {name: head for name, head in core.heads.items() if name not in heads}
        branched = [name for name, head in others.items() if any(isinstance(tap, Branched) for tap in head.taps)]
        if branched:
            raise BackboneError(
                f"{backbone.name}: heads {listed(branched)} read a branch of it, which tuning would change under them; "
                "train them too, or remove them"
            )

    def changing(self, core: HeadedCore) -> Iterable[Tensor]:
        """Return the backbone's parameters that train."""
        return tuned_parameters(core.backbone, self.top)

    def course(
        self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, weighting: Weighting
    ) -> TuningPlan:
        """Return the core itself, to be stepped on token ids."""
        backbone = core.backbone
        parts = None
        if self.top is not None:
            blocks = top_blocks(backbone.stack, len(backbone.facts.widths), self.top)
            parts = [*blocks, *after(backbone.stack, blocks[-1])]
        rates = self._rates(backbone) | head_rates(heads, self.head_lr)
        others = [name for name in core.heads if name not in heads]
        notes = (f"Heads {listed(others)} did not train, and read a backbone that has changed.",) if others else ()
        notes = (*notes, *coarse_note(backbone))
        module = TrainableCore(core, list(heads), parts, weighting)
        collate = collate_rows if data.others is None else Replay(data.others).collate
        return TuningPlan(module, rates, collate, lambda: evaluated(core, heads, data), notes=notes)

    def _rates(self, backbone: Backbone) -> dict[nn.Parameter, float]:
        """Return each parameter's learning rate: what is in no block counts as below them if it embeds, else as on
        top."""
        tuned = tuned_parameters(backbone, self.top)
        rates = dict.fromkeys(tuned, self.lr)
        if self.layer_decay == 1.0:
            return rates
        blocks = list(backbone.blocks())
        slow = depth_rates(blocks, self.lr, self.layer_decay)
        embeddings = [module for module in backbone.model.modules() if isinstance(module, nn.Embedding)]
        lowest = self.lr * self.layer_decay ** len(blocks)
        below = {parameter: lowest for module in embeddings for parameter in module.parameters()}
        return {parameter: slow.get(parameter, below.get(parameter, rate)) for parameter, rate in rates.items()}


def tuned_parameters(backbone: Backbone, top: int | None) -> list[nn.Parameter]:
    """Return the backbone's parameters that are to change: those of the top blocks, or all.

    Raises:
        BackboneError: the backbone has fewer blocks, or none that can be told apart.
    """
    if top is not None:
        blocks = top_blocks(backbone.stack, len(backbone.facts.widths), top)
        return [parameter for block in blocks for parameter in block.parameters()]
    beside = [] if backbone.pooler is None else list(backbone.pooler.parameters())
    return [*backbone.model.parameters(), *beside]
