"""Import what predicting with a graph needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from manyheads.errors import MissingExtraError


def import_extra(module: str) -> Any:
    """Return onnxruntime or tokenizers.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"mh.OnnxPredictor needs {module}: pip install onnxruntime tokenizers numpy ({error})"
        ) from None
