"""The code of a logged model: MLflow copies this file beside the model and runs it on loading.

Nothing is pickled: the model is the folder that ``save_pretrained`` wrote.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas

from manyheads.model import HeadedModel


class HeadsOnTexts(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Answers a table of texts with the columns of all heads."""

    def load_context(self, context: Any) -> None:
        """Load the model."""
        self._model = HeadedModel.from_pretrained(context.artifacts["model"])
        self._columns = list(context.model_config["text"])

    def predict(
        self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> pandas.DataFrame:
        """Return the predictions of a table of texts as a table with the same index."""
        texts = model_input[self._columns].astype(object)
        cells = texts.where(texts.notna(), None).itertuples(index=False, name=None)
        rows = [row[0] for row in cells] if len(self._columns) == 1 else list(cells)
        return self._model.predict(rows).to_pandas().set_axis(model_input.index)


mlflow.models.set_model(HeadsOnTexts())
