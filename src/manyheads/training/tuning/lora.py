"""Train low-rank adapters in a copy of the stack that only heads read: the language model runs without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyheads.backbone.branches.lora import AUTO, LowRank
from manyheads.backbone.branches.lora import LoRA as LoRABranch
from manyheads.core import HeadedCore
from manyheads.errors import MethodError
from manyheads.heads import Head
from manyheads.taps import on_branch
from manyheads.training.dataset import TrainingData
from manyheads.training.tuning.learning_rates import head_rates
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.training.tuning.method import Tuning
from manyheads.training.tuning.step_module import TrainableCore, TuningPlan, collate_rows, evaluated


@dataclass(frozen=True)
class LoRA(Tuning):
    """Train adapters beside linear layers, with the heads (Hu et al. 2021, arXiv 2106.09685), by PEFT.

    Heads read a copy of the stack in which every weight but the adapters' is the backbone's own, so that the language
    model, which reads the backbone, keeps every bit. A forward for heads alone runs that copy once; one for heads and
    language model together runs both. The adapters are saved in PEFT's own format in ``adapter/``;
    :meth:`HeadedModel.merge_adapter` folds them into the backbone.

    Args:
        r: Rank of each adapter.
        alpha: An adapter's output is scaled by alpha / r.
        targets: ``"auto"`` for every linear layer of the blocks, or the layers' names: the ends of them (``"q_proj"``
            in every block) or whole ones.
        dropout: Probability at which an adapter's input is dropped in training.

    The other settings are those of every method that steps: see :class:`manyheads.training.tuning.method.Tuning`.

    Raises:
        MethodError: a setting out of its range.
    """

    r: int = 16
    alpha: float = 32
    targets: str | Sequence[str] = AUTO
    dropout: float = field(default=0.0, kw_only=True)
    lr: float = field(default=2e-4, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_whole("r")
        self.check_number("alpha", above=0.0)
        self.check_number("dropout")
        if self.dropout >= 1:
            raise MethodError(f"{self.name}: dropout must be below 1, got {self.dropout!r}")
        named = not isinstance(self.targets, str)
        if not named and self.targets != AUTO:
            raise MethodError(f"{self.name}: targets must be 'auto' or a list of layers' names, got {self.targets!r}")
        if named and not (self.targets and all(isinstance(name, str) and name for name in self.targets)):
            raise MethodError(f"{self.name}: targets must be a list of layers' names, got {self.targets!r}")
        if named:
            object.__setattr__(self, "targets", tuple(self.targets))

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        return {**super().describe(), "targets": AUTO if self.targets == AUTO else list(self.targets)}

    def check(self, core: HeadedCore, heads: Mapping[str, Head]) -> None:
        """Refuse layers that are not there, heads for which adapters do nothing, and a missing PEFT."""
        self._adapters(core, 0)
        facts = core.backbone.facts
        for name, head in heads.items():
            if not any(tap.resolve(facts).needs_pass(facts) for tap in head.spec.taps):
                raise MethodError(
                    f"Head {name!r}: reads no hidden states, so adapters do nothing for it; train it Frozen"
                )

    def course(
        self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, weighting: Weighting
    ) -> TuningPlan:
        """Put adapters in place, let the heads read what they make of a text, and return the core to be stepped."""
        backbone = core.backbone
        branch = self._adapters(core, data.seed)
        name = backbone.free_name(branch.kind)
        backbone.branches[name] = branch
        for head in heads.values():
            head.taps = tuple(on_branch(tap, name, backbone.facts) for tap in head.taps)
        rates = dict.fromkeys(branch.trainable_parameters().values(), self.lr) | head_rates(heads, self.head_lr)
        module = TrainableCore(core, list(heads), [branch.stack], weighting)
        return TuningPlan(module, rates, collate_rows, lambda: evaluated(core, heads, data))

    def _adapters(self, core: HeadedCore, seed: int) -> LoRABranch:
        targets = core.backbone.lora_targets(self.targets)
        return core.backbone.lora(LowRank(self.r, self.alpha, targets, self.dropout), seed)
