"""LoRA: low-rank adapters in a copy of the stack that only heads read (Hu et al. 2021, arXiv 2106.09685), by PEFT.

This is the only module that imports peft, and only when an adapter is built.
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
from manyheads.backbone.stack.layer_reader import LayerReader
from manyheads.backbone.stack.probe import probe
from manyheads.errors import BackboneError, MissingExtraError, did_you_mean, listed, one_line

AUTO = "auto"
# PEFT's name for a single adapter in memory; its files omit it.
_ADAPTER = "default"
# PEFT's prefix for module names in its files.
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class LoRASettings:
    """The settings of an adapter.

    Attributes:
        r: Rank.
        alpha: LoRA scaling; the adapter's output is scaled by alpha / r.
        targets: Full names in the backbone of the adapted linear layers, sorted.
        dropout: Dropout probability of the adapter's input in training.
    """

    r: int
    alpha: float
    targets: tuple[str, ...]
    dropout: float

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> LoRASettings:
        """Return validated settings from the output of ``to_json``.

        Raises:
            BackboneError: unknown or missing keys, or invalid values.
        """
        mismatched = {item.name for item in fields(cls)} ^ set(settings)
        if mismatched:
            raise BackboneError(f"adapter settings: unknown or missing keys {listed(sorted(mismatched))}")
        if not _is_valid(**settings):
            raise BackboneError(f"adapter settings: invalid values {dict(settings)!r:.200}")
        return cls(**{**settings, "targets": tuple(settings["targets"])})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON."""
        return {"r": self.r, "alpha": self.alpha, "targets": list(self.targets), "dropout": self.dropout}

    def to_peft(self) -> dict[str, Any]:
        """Return the entries of PEFT's config with which PEFT computes the same output."""
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

    def rank_axes(self) -> dict[str, int]:
        """Return weight name in PEFT's file -> the dimension whose size is the rank."""
        ranks = {"lora_A": 0, "lora_B": 1}
        return {f"{_PREFIX}{name}.{part}.weight": axis for name in self.targets for part, axis in ranks.items()}


class LoRABranch(Branch):
    """A copy of the stack with adapters; all other weights are the backbone's own tensors.

    An untrained branch computes what the backbone computes, as one of each adapter's two matrices is zero.

    Attributes:
        lora: The adapters' settings.
    """

    kind: ClassVar[str] = "lora"

    def __init__(
        self, stack: nn.Module, pooler: nn.Module | None, reader: LayerReader, path: str, lora: LoRASettings, seed: int
    ) -> None:
        """Insert adapters into a copy of a stack.

        Args:
            stack: The backbone's stack.
            pooler: A pooler outside the stack; it is not adapted.
            reader: Reads the stack's hidden states by layer.
            path: Name of the stack in the backbone's model.
            lora: The adapters' settings.
            seed: Random seed of the initial weights.

        Raises:
            BackboneError: PEFT cannot adapt a target layer.
            MissingExtraError: PEFT is not installed.
        """
        copied = sharing_copy(stack)
        prefix = f"{path}." if path else ""
        with _requires_grad_restored(stack):
            _inject(copied, lora, prefix, seed)
        super().__init__(copied, None if pooler is None else sharing_copy(pooler), reader)
        self.lora = lora
        self._paths = {name: name.removeprefix(prefix) for name in lora.targets}
        self.training = stack.training
        for layer in self.adapted_layers().values():
            layer.train(layer.get_base_layer().training)

    def settings(self) -> dict[str, Any]:
        """Return rank, alpha, dropout and the names of the adapted layers."""
        return self.lora.to_json()

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the adapters' matrices by their names in PEFT's files."""
        return {
            f"{_PREFIX}{name}.{part}.weight": getattr(layer, part)[_ADAPTER].weight
            for name, layer in self.adapted_layers().items()
            for part in ("lora_A", "lora_B")
        }

    def adapted_layers(self) -> dict[str, Any]:
        """Return name of a linear layer in the backbone -> PEFT's layer around it."""
        return {name: self.stack.get_submodule(path) for name, path in self._paths.items()}

    def peft_config(self, base: str | None) -> dict[str, Any]:
        """Return the contents of PEFT's ``adapter_config.json``.

        Args:
            base: Path or hub id of the backbone, if it has one.
        """
        transposed = any(isinstance(layer.get_base_layer(), Conv1D) for layer in self.adapted_layers().values())
        config: dict[str, Any] = _lora_config(self.lora.to_peft(), fan_in_fan_out=transposed).to_dict()
        # Sets are sorted so that the file is always the same.
        plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
        return {**plain, "base_model_name_or_path": base, "inference_mode": True}

    def fold(self) -> None:
        """Add the adapters to the backbone's own weights.

        Raises:
            BackboneError: quantized weights, or adapters that are not finite.
        """
        weights: dict[nn.Parameter, Tensor] = {}
        with torch.no_grad():
            for name, layer in self.adapted_layers().items():
                weight, delta = layer.get_base_layer().weight, layer.get_delta_weight(_ADAPTER)
                if not weight.is_floating_point() or weight.shape != delta.shape or not bool(delta.isfinite().all()):
                    raise BackboneError(f"{name}: an adapter cannot be added to {weight.dtype} {tuple(weight.shape)}")
                weights[weight] = (weight.float() + delta.float()).to(weight.dtype)
            for weight, folded in weights.items():
                weight.copy_(folded)


def targets_of(stack: nn.Module, path: str, layers: int, targets: str | Sequence[str]) -> tuple[str, ...]:
    """Return the full names in the backbone of the linear layers to adapt, sorted.

    Args:
        stack: The stack that heads read.
        path: Name of the stack in the backbone's model.
        layers: Number of hidden states.
        targets: ``"auto"`` for every linear layer of the blocks, or full names or their endings (``"q_proj"``).

    Raises:
        BackboneError: no layer has such a name, or the stack never calls it, so that its adapter would have no effect.
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
        raise BackboneError(f"{type(stack).__name__}: has no linear layer to adapt")
    idle = [name for name in found if name not in called]
    if idle:
        raise BackboneError(
            f"{type(stack).__name__}: does not call {listed(idle, most=3)} (it reads the weights directly), so an "
            f"adapter there would have no effect; choose others: {listed(_endings(called))}"
        )
    return tuple(found)


def _is_valid(r: Any, alpha: Any, targets: Any, dropout: Any) -> bool:
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


def _lora_config(settings: Mapping[str, Any], fan_in_fan_out: bool) -> Any:
    return _peft().LoraConfig(**settings, fan_in_fan_out=fan_in_fan_out)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _blocks(stack: nn.Module, layers: int) -> list[nn.Module]:
    """Return the blocks, or the whole stack if its layers share one block (ALBERT)."""
    try:
        return list(find_blocks(stack, layers - 1))
    except BackboneError:
        return [stack]


def _called(stack: nn.Module, linear: Mapping[str, nn.Module]) -> set[str]:
    """Return the layers that a forward pass calls.

    If the stack reads a layer's weight without calling it (Mamba's time step), it would bypass PEFT's layer too.
    """
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
        endings = _endings(linear)
        raise BackboneError(
            f"{stack}: has no linear layer {target!r}{did_you_mean(target, [*endings, *linear])} Its linear layers: "
            f"{listed(endings, most=20)}"
        )
    return found


def _endings(names: Iterable[str]) -> list[str]:
    """Return the distinct last components of dotted names."""
    return sorted({name.rpartition(".")[2] for name in names})


def _inject(copied: nn.Module, lora: LoRASettings, prefix: str, seed: int) -> None:
    """Replace linear layers by PEFT's, with matrices in fp32."""
    names = [name.removeprefix(prefix) for name in lora.targets]
    transposed = {isinstance(copied.get_submodule(name), Conv1D) for name in names}
    config = _lora_config({**lora.to_peft(), "target_modules": names}, fan_in_fan_out=True in transposed)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if len(transposed) > 1:  # PEFT warns that it decides this per layer.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        torch.manual_seed(seed)
        try:
            _peft().inject_adapter_in_model(config, copied, _ADAPTER)
        except ValueError as error:
            raise BackboneError(
                f"{type(copied).__name__}: {one_line(error)} Choose others with targets=[...]: "
                f"{listed(_endings(names))}"
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
def _requires_grad_restored(stack: nn.Module) -> Iterator[None]:
    """Restore ``requires_grad`` of the backbone's parameters: PEFT freezes them, through the copy."""
    before = {parameter: parameter.requires_grad for parameter in stack.parameters()}
    try:
        yield
    finally:
        for parameter, requires_grad in before.items():
            parameter.requires_grad_(requires_grad)
