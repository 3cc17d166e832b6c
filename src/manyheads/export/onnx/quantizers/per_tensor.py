"""INT8 as ONNX Runtime's own tool does it, with one scale for all tokens of a batch: ``int8-tensor``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, cast

import onnx_ir
from transformers.exporters.quantizers import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

from manyheads.export.onnx.quantizers.products import backbone_products
from manyheads.export.onnx.quantizers.quantizer import Batch, Quantizer


class PerTensor(Quantizer):
    """INT8 with one scale for all tokens of a batch; a text's answer depends a little on the texts beside it."""

    name: ClassVar[str] = "int8-tensor"
    purpose: ClassVar[str] = "one scale for each batch: ONNX Runtime's own scheme"

    def quantize(self, model: onnx_ir.Model, samples: Sequence[Batch]) -> onnx_ir.Model:
        """Return a quantized graph; see ``Quantizer.quantize``."""
        names = [str(product.node.name) for product in backbone_products(model)]
        # The tool writes Gemm as MatMul and Add first, under this name.
        names += [f"{name}_MatMul" for name in names]
        settings = OnnxRuntimeDynamicConfig(
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=names,
            extra_options={"MatMulConstBOnly": True},
        )
        with _quiet():
            return cast(onnx_ir.Model, OnnxRuntimeQuantizer(settings).quantize(model.clone(), {}, None))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the tool logs; its first message would also give the root logger a handler."""
    handlers, disabled = list(logging.root.handlers), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.disable(disabled)
