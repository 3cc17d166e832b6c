"""Settings of an export to ONNX."""

from __future__ import annotations

from dataclasses import dataclass

from manyheads.errors import ConfigError


@dataclass(frozen=True)
class OnnxSettings:
    """What the exported graph contains, and how exact it has to be.

    Attributes:
        quantize: Name of the quantizer, such as ``"int8"``, or ``None`` for fp32.
        min_agreement: The least share of rows for which a quantized head must predict the same as the model in fp32.
        refit: Whether linear heads are solved anew on the features of the quantized graph.
        language_model: Whether a second graph gives the language model's logits too.

    Raises:
        ConfigError: another value, or a setting for quantized graphs without ``quantize``.
    """

    quantize: str | None = None
    min_agreement: float = 0.99
    refit: bool = False
    language_model: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.min_agreement, int | float) and 0 <= self.min_agreement <= 1):
            raise ConfigError(f"min_agreement must be a share from 0 to 1, got {self.min_agreement!r}")
        if self.refit and self.quantize is None:
            raise ConfigError("refit: heads are refitted to a quantized graph; give quantize='int8' too")
