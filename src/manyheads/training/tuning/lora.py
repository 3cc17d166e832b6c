"""Train low-rank adapters in a copy of the stack that only heads read; the language model runs without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyheads.backbone.branches.branches import build_lora, lora_targets
from manyheads.backbone.branches.lora import AUTO, LoRABranch, LoRASettings
from manyheads.core import HeadedCore
from manyheads.errors import MethodError
from manyheads.heads import Head
from manyheads.taps import on_branch
from manyheads.training.dataset import TrainingData
from manyheads.training.method import Outcome
from manyheads.training.tuning.learning_rates import head_rates
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.training.tuning.method import Tuning
from manyheads.training.tuning.step_module import TrainableCore, TuningPlan, collate_rows, evaluated


@dataclass(frozen=True)
class LoRA(Tuning):
    """Train PEFT's low-rank adapters of linear layers with the heads (Hu et al. 2021, arXiv 2106.09685).

    Heads read a copy of the stack that has adapters and shares all other weights with the backbone. The language model
    reads the backbone itself, so its output does not change by a bit. A forward pass for heads runs the copy once; one
    for heads and language model runs both. The adapters are saved in PEFT's format in ``adapter/``;
    ``HeadedModel.merge_adapter`` merges them into the backbone.

    Args:
        r: Rank of each adapter.
        alpha: An adapter's output is scaled by alpha / r.
        targets: ``"auto"`` for every linear layer of the blocks, or names of layers: full names, or their last parts
            (``"q_proj"`` in every block).
        dropout: Dropout probability of an adapter's input in training.

    All other settings are those of ``training.tuning.method.Tuning``.

    Raises:
        MethodError: a setting out of its range.

    Examples:
        >>> method = mh.LoRA(r=4, epochs=1)
        >>> mh.train(model, table, text="note", method=method).lm_check.bit_identical
        True
    """

    r: int = 16
    alpha: float = 32
    targets: str | Sequence[str] = AUTO
    dropout: float = field(default=0.0, kw_only=True)
    lr: float = field(default=1e-3, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_whole("r")
        self.check_number("alpha", above=0.0)
        self.check_number("dropout")
        if self.dropout >= 1:
            raise MethodError(f"{self.name}: dropout must be below 1, got {self.dropout!r}")
        as_list = not isinstance(self.targets, str)
        if not as_list and self.targets != AUTO:
            raise MethodError(f"{self.name}: targets must be 'auto' or a list of layers' names, got {self.targets!r}")
        if as_list and not (self.targets and all(isinstance(name, str) and name for name in self.targets)):
            raise MethodError(f"{self.name}: targets must be a list of layers' names, got {self.targets!r}")
        if as_list:
            object.__setattr__(self, "targets", tuple(self.targets))

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        return {**super().describe(), "targets": AUTO if self.targets == AUTO else list(self.targets)}

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Train the adapters and the heads; see ``training.tuning.run.tune``."""
        from manyheads.training.tuning.run import tune  # imports transformers' Trainer, which is slow

        return tune(self, core, heads, data)

    def check(self, core: HeadedCore, heads: Mapping[str, Head]) -> None:
        """Check that PEFT is installed, the backbone has the layers, and every head reads hidden states."""
        self._adapters(core, 0)
        facts = core.backbone.facts
        for name, head in heads.items():
            if not any(tap.resolve(facts).needs_pass(facts) for tap in head.spec.taps):
                raise MethodError(
                    f"Head {name!r}: reads no hidden states, so adapters do nothing for it; train it with Frozen"
                )

    def plan(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, weighting: Weighting) -> TuningPlan:
        """Add adapters as a branch that the heads read, and return the core."""
        backbone = core.backbone
        branch = self._adapters(core, data.seed)
        name = backbone.branches.free_name(branch.kind)
        backbone.branches[name] = branch
        for head in heads.values():
            head.taps = tuple(on_branch(tap, name, backbone.facts) for tap in head.taps)
        rates = dict.fromkeys(branch.trainable_parameters().values(), self.lr) | head_rates(heads, self.head_lr)
        module = TrainableCore(core, list(heads), [branch.stack], weighting)
        return TuningPlan(module, rates, collate_rows, lambda rows: evaluated(core, heads, data, rows))

    def _adapters(self, core: HeadedCore, seed: int) -> LoRABranch:
        targets = lora_targets(core.backbone.trunk, self.targets)
        return build_lora(core.backbone.trunk, LoRASettings(self.r, self.alpha, targets, self.dropout), seed)
