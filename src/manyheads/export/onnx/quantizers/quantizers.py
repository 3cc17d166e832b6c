"""The schemes, by name."""

from __future__ import annotations

from manyheads.errors import ConfigError, did_you_mean, listed
from manyheads.export.onnx.quantizers.per_tensor import PerTensor
from manyheads.export.onnx.quantizers.per_token import PerToken
from manyheads.export.onnx.quantizers.quantizer import Quantizer

QUANTIZERS: dict[str, Quantizer] = {quantizer.name: quantizer for quantizer in (PerToken(), PerTensor())}


def quantizer_named(name: str) -> Quantizer:
    """Return a quantizer.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in QUANTIZERS:
        raise ConfigError(f"quantize: {name!r} is not among {listed(QUANTIZERS)}{did_you_mean(name, QUANTIZERS)}")
    return QUANTIZERS[name]
