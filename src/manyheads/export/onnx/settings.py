"""Settings of an export to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from manyheads.errors import ConfigError


@dataclass(frozen=True)
class OnnxSettings:
    """What the exported graph contains, and how exact it has to be.

    Attributes:
        language_model: Whether a second graph gives the language model's logits too.
        quantize: Name of the quantizer, such as ``"int8"``, or ``None`` for fp32.
        data: A table of labelled rows, on which the quantized graph is compared with the model in fp32.
        text: The text column of both tables, or two for pairs; ``None`` for those of training.
        min_agreement: The least share of equal answers of every head.
        refit: A table of texts, to which heads without hidden layers are fitted on the quantized graph; ``None`` for
            none.

    Raises:
        ConfigError: another value, a quantizer without ``data``, or a setting for quantized graphs without a quantizer.
    """

    language_model: bool = False
    quantize: str | None = None
    data: object = field(default=None, compare=False)
    text: str | Sequence[str] | None = None
    min_agreement: float = 0.99
    refit: object = field(default=None, compare=False)

    def __post_init__(self) -> None:
        share = isinstance(self.min_agreement, int | float) and not isinstance(self.min_agreement, bool)
        if not (share and 0 <= self.min_agreement <= 1):
            raise ConfigError(f"min_agreement must be a share from 0 to 1, got {self.min_agreement!r}")
        if self.quantize is None:
            given = [name for name in ("data", "refit") if getattr(self, name) is not None]
            if given:
                raise ConfigError(f"{given[0]}: is for quantized graphs; give quantize='int8' too, or leave it out")
        elif self.data is None:
            raise ConfigError(
                f"quantize={self.quantize!r}: needs data=, labelled rows on which the answers of the quantized graph "
                "are compared with those in fp32"
            )
