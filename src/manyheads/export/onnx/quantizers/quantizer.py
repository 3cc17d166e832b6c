"""The contract of a quantizer. A new scheme is one file, and a line in ``quantizers.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import onnx_ir

# The inputs of a graph for one batch, by name.
Batch = Mapping[str, np.ndarray]


class Quantizer(ABC):
    """A scheme that computes the backbone's matrix products in INT8. Layers of heads stay in fp32.

    Attributes:
        name: Its name, as in ``--quantize``.
        purpose: What it is for, in a few words.
    """

    name: ClassVar[str]
    purpose: ClassVar[str]

    @abstractmethod
    def quantize(self, model: onnx_ir.Model, samples: Sequence[Batch]) -> onnx_ir.Model:
        """Return a quantized graph with the same inputs and outputs; the given one does not change.

        Args:
            model: A traced graph in fp32.
            samples: Batches of any texts, on which it may look at the sizes of activations.
        """
