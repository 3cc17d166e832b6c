"""The code of a logged model: MLflow copies this file beside the model and runs it on loading.

Nothing is pickled: the model is the folder that ``save_pretrained`` wrote.
"""

from __future__ import annotations

import warnings
from typing import Any

import mlflow

from manyheads.model import HeadedModel

# The signature says what type hints would; MLflow advises to add them, and takes those of a table for a mistake.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*type hints", category=UserWarning)

    class HeadsOnTexts(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        """Answers a table of texts with the columns of all heads."""

        def load_context(self, context: Any) -> None:
            """Load the model."""
            self._model = HeadedModel.from_pretrained(context.artifacts["model"])
            self._columns = list(context.model_config["text"])

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            """Return the predictions of a ``pandas.DataFrame`` as another one, with the same index."""
            texts = model_input[self._columns].astype(object)
            cells = texts.where(texts.notna(), None).itertuples(index=False, name=None)
            rows = [row[0] for row in cells] if len(self._columns) == 1 else list(cells)
            return self._model.predict(rows).to_pandas().set_axis(model_input.index)


mlflow.models.set_model(HeadsOnTexts())
