"""LoRA: low-rank adapters in a copy of the stack that only heads read (Hu et al. 2021, arXiv 2106.09685), by PEFT.

Nothing else here imports peft, and this does so only once an adapter is asked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from manyheads.backbone.branches.branch import Branch, sharing_copy
from manyheads.backbone.stack.find import find_blocks
from manyheads.backbone.stack.probe import probe
from manyheads.errors import BackboneError, MissingExtraError, did_you_mean, listed, one_line

AUTO = "auto"
# What PEFT calls a single adapter, in memory; its files do not say it.
_ADAPTER = "default"
# What PEFT puts before a module's name in its files.
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class LoRASettings:
    """What an adapter is, beside its weights.

    Attributes:
        r: Rank.
        alpha: Its output is scaled by alpha / r.
        targets: The adapted linear layers, by their full names in the backbone, sorted.
        dropout: Probability at which an adapter's input is dropped in training.
    """

    r: int
    alpha: float
    targets: tuple[str, ...]
    dropout: float

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> LoRASettings:
        """Return it from :meth:`plain`'s, with nothing taken on trust.

        Raises:
            BackboneError: settings that no adapter has.
        """
        apart = {item.name for item in fields(cls)} ^ set(settings)
        if apart:
            raise BackboneError(f"settings of an adapter: unknown or absent keys {listed(sorted(apart))}")
        if not _plausible(**settings):
            raise BackboneError(f"an adapter is not described by {dict(settings)!r:.200}")
        return cls(**{**settings, "targets": tuple(settings["targets"])})

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"r": self.r, "alpha": self.alpha, "targets": list(self.targets), "dropout": self.dropout}

    def to_peft(self) -> dict[str, Any]:
        """Return what PEFT's config must say for PEFT to compute the same."""
        return {
            "peft_type": "LORA",
            "r": self.r,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "target_modules": list(self.targets),
            "bias": "none",
            "use_rslora": False,
            "use_dora": False,
            "lora_bias": False,
            "rank_pattern": {},
            "alpha_pattern": {},
            "layers_to_transform": None,
            "modules_to_save": None,
        }

    def matrices(self) -> dict[str, int]:
        """Return the names of the weights in PEFT's file, each with the dimension of it that is the rank."""
        ranks = {"lora_A": 0, "lora_B": 1}
        return {f"{_PREFIX}{name}.{part}.weight": at for name in self.targets for part, at in ranks.items()}


class LoRABranch(Branch):
    """A copy of the stack with adapters in it; every weight but theirs is the backbone's own tensor.

    At first it computes what the backbone computes: of the two matrices of each adapter, one is zero.

    Attributes:
        low_rank: What the adapters are.
    """

    kind: ClassVar[str] = "lora"

    def __init__(
        self, stack: nn.Module, pooler: nn.Module | None, layers: int, path: str, low_rank: LoRASettings, seed: int
    ) -> None:
        """Put adapters into a copy of a stack.

        Args:
            stack: The backbone's.
            pooler: One that lies beside it; it is not adapted.
            layers: Number of its hidden states.
            path: Where the stack is in the backbone's model.
            low_rank: What to put in.
            seed: For the matrices that start at random.

        Raises:
            BackboneError: PEFT adapts no such layer.
            MissingExtraError: PEFT is not installed.
        """
        copied = sharing_copy(stack)
        prefix = f"{path}." if path else ""
        with _gradients_kept(stack):
            _inject(copied, low_rank, prefix, seed)
        super().__init__(copied, None if pooler is None else sharing_copy(pooler), layers)
        self.low_rank = low_rank
        self._modules_at = {name: name.removeprefix(prefix) for name in low_rank.targets}
        self.training = stack.training
        for layer in self.adapted().values():
            layer.train(layer.get_base_layer().training)

    def settings(self) -> dict[str, Any]:
        """Return rank, alpha, dropout, and the adapted layers by name."""
        return self.low_rank.plain()

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the adapters' matrices by the names that PEFT gives them in its files."""
        return {
            f"{_PREFIX}{name}.{part}.weight": getattr(layer, part)[_ADAPTER].weight
            for name, layer in self.adapted().items()
            for part in ("lora_A", "lora_B")
        }

    def adapted(self) -> dict[str, Any]:
        """Return PEFT's layers by the names that the layers in them have in the backbone."""
        return {name: self.stack.get_submodule(place) for name, place in self._modules_at.items()}

    def peft_config(self, base: str | None) -> dict[str, Any]:
        """Return what PEFT keeps in ``adapter_config.json``.

        Args:
            base: The path or hub id of the backbone, if it has one.
        """
        transposed = any(isinstance(layer.get_base_layer(), Conv1D) for layer in self.adapted().values())
        config = _config(self.low_rank.to_peft(), fan_in_fan_out=transposed)
        said: dict[str, Any] = config.to_dict()
        # Sets have no order of their own, and the file is to be the same whenever it is written.
        plain = {key: sorted(value) if isinstance(value, set) else value for key, value in said.items()}
        return {**plain, "base_model_name_or_path": base, "inference_mode": True}

    def fold(self) -> None:
        """Add the adapters into the backbone's own weights.

        Raises:
            BackboneError: weights that cannot be added to, being quantised; or adapters that are not finite.
        """
        weights: dict[nn.Parameter, Tensor] = {}
        with torch.no_grad():
            for name, layer in self.adapted().items():
                weight, delta = layer.get_base_layer().weight, layer.get_delta_weight(_ADAPTER)
                if not weight.is_floating_point() or weight.shape != delta.shape or not bool(delta.isfinite().all()):
                    raise BackboneError(f"{name}: an adapter cannot be added to {weight.dtype} {tuple(weight.shape)}")
                weights[weight] = (weight.float() + delta.float()).to(weight.dtype)
            for weight, folded in weights.items():
                weight.copy_(folded)


def targets_of(stack: nn.Module, path: str, layers: int, targets: str | Sequence[str]) -> tuple[str, ...]:
    """Return which linear layers are to be adapted, by their full names in the backbone, sorted.

    Args:
        stack: The stack that heads read.
        path: Where it is in the backbone's model.
        layers: Number of its hidden states.
        targets: ``"auto"`` for every linear layer of its blocks, or the ends of names (``"q_proj"``), or whole ones.

    Raises:
        BackboneError: no layer of such a name; or one that the stack never calls, so that its adapter would do nothing.
    """
    prefix = f"{path}." if path else ""
    linear = {f"{prefix}{name}": module for name, module in stack.named_modules() if _is_linear(module)}
    called = _called(stack, linear)
    if isinstance(targets, str):
        inside = {module for part in _blocks(stack, layers) for module in part.modules()}
        found = sorted(name for name in called if linear[name] in inside)
    else:
        found = sorted({name for target in targets for name in _named(target, linear, type(stack).__name__)})
    if not found:
        raise BackboneError(f"{type(stack).__name__}: has no linear layer that an adapter could stand in")
    idle = [name for name in found if name not in called]
    if idle:
        raise BackboneError(
            f"{type(stack).__name__}: does not call {listed(idle, most=3)} (it reads the weights directly), so that an "
            f"adapter there would do nothing; adapt others: {listed(_ends(called))}"
        )
    return tuple(found)


def _plausible(r: Any, alpha: Any, targets: Any, dropout: Any) -> bool:
    if type(r) is not int or type(alpha) not in (int, float) or type(dropout) not in (int, float):
        return False
    if not (isinstance(targets, list) and targets and all(isinstance(name, str) for name in targets)):
        return False
    return r > 0 and 0 < alpha < math.inf and 0 <= dropout < 1 and targets == sorted(set(targets))


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingExtraError("LoRA needs peft: pip install 'manyheads[finetune]'") from None
    return peft


def _config(said: Mapping[str, Any], fan_in_fan_out: bool) -> Any:
    return _peft().LoraConfig(**said, fan_in_fan_out=fan_in_fan_out)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _blocks(stack: nn.Module, layers: int) -> list[nn.Module]:
    """Return the blocks; the whole stack where they cannot be told apart (ALBERT's share one)."""
    try:
        return list(find_blocks(stack, layers - 1))
    except BackboneError:
        return [stack]


def _called(stack: nn.Module, linear: Mapping[str, nn.Module]) -> set[str]:
    """Return the layers that a forward calls: where one's weight is read past it (Mamba's time step), PEFT's layer in
    its place would be passed by too."""
    called: set[str] = set()
    handles = [module.register_forward_hook(lambda *_, name=name: called.add(name)) for name, module in linear.items()]
    try:
        probe(stack)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _named(target: str, linear: Mapping[str, nn.Module], stack: str) -> list[str]:
    if target in linear:
        return [target]
    found = [name for name in linear if name.endswith(f".{target}")]
    if not found:
        ends = _ends(linear)
        raise BackboneError(
            f"{stack}: has no linear layer {target!r}{did_you_mean(target, [*ends, *linear])} Its linear layers: "
            f"{listed(ends, most=20)}"
        )
    return found


def _ends(names: Iterable[str]) -> list[str]:
    """Return the last parts of names, each once."""
    return sorted({name.rpartition(".")[2] for name in names})


def _inject(copied: nn.Module, low_rank: LoRASettings, prefix: str, seed: int) -> None:
    """Put PEFT's layers in the place of linear ones, their matrices in fp32."""
    names = [name.removeprefix(prefix) for name in low_rank.targets]
    transposed = {isinstance(copied.get_submodule(name), Conv1D) for name in names}
    config = _config({**low_rank.to_peft(), "target_modules": names}, fan_in_fan_out=True in transposed)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if len(transposed) > 1:  # PEFT then warns that it decides this layer by layer
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        torch.manual_seed(seed)
        try:
            _peft().inject_adapter_in_model(config, copied, _ADAPTER)
        except ValueError as error:
            raise BackboneError(
                f"{type(copied).__name__}: {one_line(error)} Name others with targets=[...]: {listed(_ends(names))}"
            ) from None
    found = {name: module for name, module in copied.named_modules() if hasattr(module, "lora_A")}
    for module in found.values():
        module.lora_A.float()
        module.lora_B.float()
    if set(found) != set(names):
        raise BackboneError(
            f"{type(copied).__name__}: PEFT adapted other layers: {listed(sorted(set(found) ^ set(names)))}"
        )


@contextmanager
def _gradients_kept(stack: nn.Module) -> Iterator[None]:
    """Ask the backbone's parameters for what they were asked for before: PEFT freezes them, through the copy."""
    before = {parameter: parameter.requires_grad for parameter in stack.parameters()}
    try:
        yield
    finally:
        for parameter, needed in before.items():
            parameter.requires_grad_(needed)
