"""What an exported head computes: fully connected layers on the states of one layer, with the temperature folded in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyheads.core import HeadedCore
from manyheads.errors import ExportError
from manyheads.heads import Head
from manyheads.taps import Branched, Hidden, LMLogits, Output, Tap, Words
from manyheads.taps.prompted import Prompted

# What can be done with a head that a format cannot express.
_STAY = "use the model itself (model.predict, manyheads predict)"


@dataclass(frozen=True)
class Layer:
    """A fully connected layer.

    Attributes:
        weight: fp32 (outputs, inputs), on the CPU.
        bias: fp32 (outputs,).
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class ExportedHead:
    """A head, as every target format reads it.

    Attributes:
        name: Its name in the model.
        head: The head itself.
        tap: The one tap that it reads, without a branch around it.
        branch: The fork or LoRA adapter that it reads, or ``None`` for the backbone.
        hidden: Its hidden layers, each followed by GELU.
        output: Its output layer. Logits are divided by the decision's temperature.
    """

    name: str
    head: Head
    tap: Hidden | Words
    branch: str | None
    hidden: tuple[Layer, ...]
    output: Layer

    @property
    def owner(self) -> str:
        """The start of messages about it."""
        return f"Head {self.name!r}"

    @property
    def temperature(self) -> float:
        """The temperature that is folded into the output layer."""
        return self.head.decision.temperature

    @property
    def reads_pairs(self) -> bool:
        """Whether it was trained on pairs of texts."""
        return isinstance(self.head.summary.get("text"), list)

    @property
    def layer(self) -> int:
        """The layer that it reads, as a negative index into ``hidden_states``."""
        assert isinstance(self.tap.layer, int)
        return self.tap.layer


def exported_head(core: HeadedCore, name: str) -> ExportedHead:
    """Return a head as formats read it.

    Raises:
        ExportError: the head is untrained, or reads something that no format can compute.
    """
    (head,) = core.heads.chosen([name]).values()
    owner = f"Head {name!r}"
    if not head.is_usable:
        raise ExportError(f"{owner}: is not trained, so its export would predict at random; train it first")
    if core.backbone.quantized:
        raise ExportError(
            f"{owner}: the weights of {core.backbone.name} are quantized; load the model without "
            "quantization_config, and export from there"
        )
    tap, branch = _one_tap(owner, head)
    return ExportedHead(name, head, tap, branch, _hidden_layers(head), _output_layer(head))


def _one_tap(owner: str, head: Head) -> tuple[Hidden | Words, str | None]:
    if len(head.taps) > 1:
        taps = " and ".join(map(str, head.taps))
        forked = any(isinstance(tap, Branched) and tap.reads in head.taps for tap in head.taps)
        step = "train it with Fork(frozen_share=0)" if forked else "train a head with one tap"
        raise ExportError(f"{owner}: reads {taps}, and the format has room for one input; {step}, or {_STAY}")
    (tap,) = head.taps
    if isinstance(tap, Branched):
        return _plain(owner, tap.reads), tap.branch
    return _plain(owner, tap), None


def _plain(owner: str, tap: Tap) -> Hidden | Words:
    """Return a tap of states of one layer.

    Raises:
        ExportError: any other tap; the message says what it reads.
    """
    if isinstance(tap, Prompted):
        problem = f"reads texts inside the prompt {tap.prompt!r}, which the format would not add"
        raise ExportError(f"{owner}: {problem}; train a head without prompt=, or {_STAY}")
    if isinstance(tap, Output):
        problem = f"reads the scores of the head {tap.head!r}, which the format has no place for"
        raise ExportError(f"{owner}: {problem}; train a head that reads only the backbone, or {_STAY}")
    if isinstance(tap, LMLogits):
        problem = "reads the logits of the language model, which the format does not compute"
        raise ExportError(f"{owner}: {problem}; train a head that reads Hidden(), or {_STAY}")
    if not isinstance(tap, Hidden | Words):
        problem = f"reads {tap}, which is computed from the text's tokens and not by the backbone"
        raise ExportError(f"{owner}: {problem}; train a head that reads Hidden(), or {_STAY}")
    if tap.layer == "mix" or (isinstance(tap, Hidden) and tap.pool == "attention"):
        problem = f"reads {tap}, whose learned weights the format has no place for"
        raise ExportError(f"{owner}: {problem}; train a head that reads one layer and a fixed pooling, or {_STAY}")
    return tap


def _hidden_layers(head: Head) -> tuple[Layer, ...]:
    return tuple(layer_of(module) for module in head.trunk if isinstance(module, nn.Linear))


def _output_layer(head: Head) -> Layer:
    output, temperature = layer_of(head.output), head.decision.temperature
    return Layer(output.weight / temperature, output.bias / temperature)


def layer_of(module: nn.Linear) -> Layer:
    """Return the weights of a module."""
    return Layer(_fp32(module.weight), _fp32(module.bias))


def _fp32(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).clone()
