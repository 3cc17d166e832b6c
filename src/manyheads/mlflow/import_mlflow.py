"""Import MLflow, which is optional."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from manyheads.errors import MissingExtraError


def import_mlflow(module: str = "mlflow") -> Any:
    """Return MLflow, or one of its modules.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"mh.mlflow needs MLflow: pip install 'manyheads[mlflow]' ({error})") from None
