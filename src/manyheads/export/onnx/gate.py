"""Whether a quantized graph answers like the model in fp32, by head, on the labelled rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manyheads.core import HeadedCore
from manyheads.data.labelled import Reading
from manyheads.data.texts.texts import Texts
from manyheads.evaluation.evaluate import Predict, predict_labelled
from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.kinds import Measures
from manyheads.inference import Scorer, ScoringSettings
from manyheads.onnx.predictor import OnnxPredictor
from manyheads.runtime.progress import quietly
from manyheads.types import Tokenizer

_LOSS = "log_loss"


@dataclass(frozen=True)
class Agreement:
    """How far a quantized head's answers are those of the model in fp32.

    Attributes:
        items: Number of labelled rows that were compared; of words, for a head that labels words.
        agreement: Share of answers that are the same. For several labels per row, F1 of the quantized answers against
            those in fp32, ``2 both / (fp32 + quantized)``: most rows lack most labels in any graph. For numbers, R
            squared of the quantized ones against those in fp32.
        metrics: Metric -> its value in fp32 and quantized: the head's main one, and the log loss of a head with
            probabilities.
    """

    items: int
    agreement: float
    metrics: Mapping[str, tuple[float, float]]

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        metrics = {name: {"fp32": exact, "quantized": quantized} for name, (exact, quantized) in self.metrics.items()}
        return {"items": self.items, "agreement": self.agreement, "metrics": metrics}

    def problem(self, name: str, least: float, refitted: bool) -> str | None:
        """Return why the head must not be exported, in one line, or ``None`` if it may be.

        Args:
            name: The head's name.
            least: The least agreement.
            refitted: Whether the head was refitted already.
        """
        if self.agreement >= least:
            return None
        figures = ", ".join(
            f"{metric} {after:.4g} instead of {before:.4g}" for metric, (before, after) in self.metrics.items()
        )
        refit = "" if refitted else "refit it (--refit), "
        return (
            f"Head {name!r}: quantized, it gives the answer in fp32 for {self.agreement:.4f} of {self.items} items, "
            f"and {least:g} is the least ({figures}); {refit}export it in fp32, or lower --min-agreement"
        )


def agreements(
    core: HeadedCore, tokenizer: Tokenizer, quantized: OnnxPredictor, data: object, reading: Reading
) -> dict[str, Agreement]:
    """Compare the answers of a quantized graph with those of the model in fp32.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        quantized: Predicts with the graph.
        data: A table with the labels of every head of the graph, as in ``evaluate``.
        reading: How texts are read from it.

    Returns:
        Head name -> the comparison.

    Raises:
        DataError: as from ``evaluate``.
    """
    exact = Scorer(core, tokenizer, ScoringSettings(reading.max_length, reading.long_text, dtype="float32"))
    ways: tuple[Predict, ...] = (exact, _by_graph(quantized))
    with quietly():
        found = [
            predict_labelled(core, tokenizer, data, reading, quantized.heads, predict=predict)[1] for predict in ways
        ]
    return {name: compared(*(rows[name] for rows in found)) for name in quantized.heads}


def compared(exact: EvaluatedRows, quantized: EvaluatedRows) -> Agreement:
    """Compare two predictions of the same rows by one head."""
    before, after = exact.measures, quantized.measures
    metrics = {
        name: (before.metrics[name], after.metrics[name])
        for name in (exact.spec.main_metric, _LOSS)
        if name in before.metrics
    }
    return Agreement(int(before.predicted.size), _agreement(before, after), metrics)


def _agreement(exact: Measures, quantized: Measures) -> float:
    if exact.predicted.dtype == bool:
        both, count = (exact.predicted & quantized.predicted).sum(), exact.predicted.sum() + quantized.predicted.sum()
        return float(2 * both / count) if count else 1.0
    if exact.counts_as_right_or_wrong:
        return float((exact.predicted == quantized.predicted).mean())
    residual = ((quantized.predicted - exact.predicted) ** 2).sum()
    spread = ((exact.predicted - exact.predicted.mean()) ** 2).sum()
    return float(1 - residual / spread) if spread else float(residual == 0)


def _by_graph(predictor: OnnxPredictor) -> Predict:
    return lambda texts, heads: predictor(_items(texts), list(heads))


def _items(texts: Texts) -> list[Any]:
    """Return texts in the form in which they were given: a text, a pair of texts, or a list of words."""
    return [
        [text[start:end] for start, end in texts.given[row]] if row in texts.given else text
        for row, text in enumerate(texts.texts)
    ]
