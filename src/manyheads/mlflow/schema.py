"""The signature of a model in MLflow: its text columns, and the columns of all heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from manyheads.inference import Predictions
from manyheads.mlflow.import_mlflow import import_mlflow


def signature_of(columns: Sequence[str], predictions: Predictions) -> Any:
    """Return a ``mlflow.models.ModelSignature``.

    It follows from the types of the columns, not from their values, so that an empty list has a type too.

    Args:
        columns: Names of the text columns.
        predictions: Of any texts.
    """
    models, types = import_mlflow("mlflow.models"), import_mlflow("mlflow.types")
    inputs = [types.ColSpec("string", name) for name in columns]
    outputs = [types.ColSpec(_type(field.type), field.name, required=False) for field in predictions.to_arrow().schema]
    return models.ModelSignature(types.Schema(inputs), types.Schema(outputs))


def _type(arrow: pa.DataType) -> Any:
    """Return MLflow's type of an Arrow type."""
    schema = import_mlflow("mlflow.types.schema")
    if pa.types.is_list(arrow):
        return schema.Array(_type(arrow.value_type))
    if pa.types.is_struct(arrow):
        return schema.Object([schema.Property(field.name, _type(field.type), required=False) for field in arrow])
    if pa.types.is_boolean(arrow):
        return schema.DataType.boolean
    if pa.types.is_integer(arrow):
        return schema.DataType.long
    return schema.DataType.double if pa.types.is_floating(arrow) else schema.DataType.string
