"""Train the backbone or its top blocks together with the heads, on one joint loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from manyheads.backbone import Backbone
from manyheads.backbone.branches.fork import modules_after, top_blocks
from manyheads.core import HeadedCore
from manyheads.errors import BackboneError, MethodError, listed
from manyheads.heads import Head
from manyheads.taps import Branched
from manyheads.training.dataset import TrainingData
from manyheads.training.method import Outcome
from manyheads.training.tuning.learning_rates import default_rates, depth_rates, head_rates
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.training.tuning.method import Tuning, check_trainable, coarse_note
from manyheads.training.tuning.step_module import Replay, TrainableCore, TuningPlan, collate_rows, evaluated


@dataclass(frozen=True)
class Full(Tuning):
    """Train the backbone with the heads.

    The language model changes with the backbone. ``lm_weight`` adds the language model's own loss, which limits how
    much it changes, and the result contains its perplexity on the evaluation texts before and after training.

    Args:
        top: Train the top k blocks only; ``None`` for the whole backbone.
        lr: Peak learning rate of the top block. ``None`` is 2e-5 for a backbone with a language model, which forgets at
            higher rates, and ``3e-4 * 384 / hidden size`` for others.
        layer_decay: Factor on ``lr`` for each block further down (Howard and Ruder 2018, discriminative fine-tuning).
            ``None`` is 0.75 where ``lr`` is ``None`` and the backbone has no language model, else 1.
        lm_weight: Factor of the causal language model's loss on the training texts.
        replay: Other texts for the language model's loss, such as its own training texts: a list of strings, or a table
            with the same text columns. Each batch gets as many of them as it has rows.

    All other settings are those of ``training.tuning.method.Tuning``.

    Raises:
        MethodError: a setting out of its range.

    Examples:
        >>> method = mh.Full(top=1, epochs=1, lm_weight=0.1)
        >>> mh.train(model, table, text="note", method=method).lm_check.bit_identical
        False
    """

    top: int | None = None
    layer_decay: float | None = field(default=None, kw_only=True)
    lm_weight: float = field(default=0.0, kw_only=True)
    replay: str | Path | Sequence[str] | Any = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer_decay is not None:
            self.check_number("layer_decay", above=0.0)
        self.check_number("lm_weight")
        if self.top is not None:
            self.check_whole("top")
        if self.replay is not None and self.lm_weight == 0:
            raise MethodError("Full: replay is used by the language model's loss only; give it an lm_weight above 0")

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings; of ``replay``, only whether it is given."""
        return super().describe() | {"replay": self.replay is not None}

    @property
    def other_texts(self) -> object:
        """The texts for the language model's loss."""
        return self.replay

    @property
    def lm_factor(self) -> float:
        """Factor of the language model's loss."""
        return self.lm_weight

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Train the backbone and the heads; see ``training.tuning.run.tune``."""
        from manyheads.training.tuning.run import tune  # imports transformers' Trainer, which is slow

        return tune(self, core, heads, data)

    def check(self, core: HeadedCore, heads: Mapping[str, Head]) -> None:
        """Check the blocks, the causal language model, and that no other head reads a branch."""
        backbone = core.backbone
        check_trainable(backbone, self.name)
        if self.lm_weight > 0 and (backbone.lm is None or not backbone.facts.causal):
            raise BackboneError(f"{backbone.name}: lm_weight needs a causal language model; leave it at 0")
        if self.top is not None or self._decay(backbone) != 1.0:
            top_blocks(backbone.stack, len(backbone.facts.widths), self.top or 1)
        others = {name: head for name, head in core.heads.items() if name not in heads}
        branched = [name for name, head in others.items() if any(isinstance(tap, Branched) for tap in head.taps)]
        if branched:
            raise BackboneError(
                f"{backbone.name}: heads {listed(branched)} read a branch of it, which training would change; train "
                "them too, or remove them"
            )

    def changing(self, core: HeadedCore) -> Iterable[Tensor]:
        """Return the backbone's parameters that train."""
        return tuned_parameters(core.backbone, self.top)

    def plan(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, weighting: Weighting) -> TuningPlan:
        """Return the core itself."""
        backbone = core.backbone
        parts = None
        if self.top is not None:
            blocks = top_blocks(backbone.stack, len(backbone.facts.widths), self.top)
            parts = [*blocks, *modules_after(backbone.stack, blocks[-1])]
        rates = self._rates(backbone) | head_rates(heads, self.head_lr)
        others = [name for name in core.heads if name not in heads]
        notes = (f"Heads {listed(others)} were not trained, and read a backbone that has changed.",) if others else ()
        notes = (*notes, *coarse_note(backbone))
        module = TrainableCore(core, list(heads), parts, weighting)
        collate = collate_rows if data.others is None else Replay(data.others).collate
        return TuningPlan(module, rates, collate, lambda rows: evaluated(core, heads, data, rows), notes=notes)

    def _rates(self, backbone: Backbone) -> dict[nn.Parameter, float]:
        """Return each parameter's learning rate; embeddings count as below the blocks, all others as above."""
        rate, decay = self.rate(backbone), self._decay(backbone)
        rates = dict.fromkeys(tuned_parameters(backbone, self.top), rate)
        if decay == 1.0:
            return rates
        blocks = list(backbone.blocks())
        slow = depth_rates(blocks, rate, decay)
        embeddings = [module for module in backbone.model.modules() if isinstance(module, nn.Embedding)]
        lowest = rate * decay ** len(blocks)
        below = {parameter: lowest for module in embeddings for parameter in module.parameters()}
        return {parameter: slow.get(parameter, below.get(parameter, rate)) for parameter in rates}

    def _decay(self, backbone: Backbone) -> float:
        if self.layer_decay is not None:
            return self.layer_decay
        return default_rates(backbone)[1] if self.lr is None else 1.0


def tuned_parameters(backbone: Backbone, top: int | None) -> list[nn.Parameter]:
    """Return the parameters of the top blocks, or all of the backbone for ``None``.

    Raises:
        BackboneError: the backbone has fewer blocks, or its blocks were not found.
    """
    if top is not None:
        blocks = top_blocks(backbone.stack, len(backbone.facts.widths), top)
        return [parameter for block in blocks for parameter in block.parameters()]
    pooler = [] if backbone.pooler is None else list(backbone.pooler.parameters())
    return [*backbone.model.parameters(), *pooler]
