"""``log_model``: a model as an MLflow model that anybody loads without this package's API."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manyheads._version import VERSION
from manyheads.inference.text_columns import list_text_columns
from manyheads.mlflow.import_mlflow import import_mlflow
from manyheads.mlflow.schema import signature_of
from manyheads.model import HeadedModel

_CODE = Path(__file__).with_name("model_code.py")
_EXAMPLE = "A text."


def log_model(
    model: HeadedModel,
    name: str = "model",
    text: str | Sequence[str] | None = None,
    registered_model_name: str | None = None,
) -> Any:
    """Log a model to MLflow as a ``pyfunc`` model, from code and without a pickle.

    ``mlflow.pyfunc.load_model`` loads it, also in another process, where manyheads must be installed. Its ``predict``
    takes a table with the text columns and returns the columns of ``model.predict(texts).to_pandas()``. The model has
    a signature, which MLflow checks, and an input example.

    Args:
        model: The model.
        name: Its name in MLflow.
        text: Name of the text column, or of two columns for pairs; those of training by default.
        registered_model_name: Register it under this name too.

    Returns:
        MLflow's ``ModelInfo``, with ``model_uri``.

    Raises:
        MissingExtraError: MLflow is not installed.
        DataError: ``text`` is missing, and the heads were trained on different columns or not by ``train``.

    Examples:
        >>> info = mh.mlflow.log_model(trained, name="triage")
        >>> info.signature.inputs.input_names()
        ['note']
    """
    pyfunc, pandas = import_mlflow("mlflow.pyfunc"), import_mlflow("pandas")
    columns = list_text_columns(text, model.heads.values(), name)
    cells: Any = _EXAMPLE if len(columns) == 1 else (_EXAMPLE,) * 2
    with tempfile.TemporaryDirectory(prefix="manyheads-") as scratch:
        folder = Path(scratch) / "model"
        model.save_pretrained(folder)
        return pyfunc.log_model(
            name=name,
            python_model=str(_CODE),
            artifacts={"model": str(folder)},
            model_config={"text": columns},
            signature=signature_of(columns, model.predict([cells])),
            input_example=pandas.DataFrame({column: [_EXAMPLE] for column in columns}),
            pip_requirements=[f"manyheads[mlflow]=={VERSION}"],
            registered_model_name=registered_model_name,
        )
