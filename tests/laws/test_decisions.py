"""Decisions change no logits, and a temperature changes scores but no labels (L26)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

import manyheads as mh
from manyheads.evaluation.metrics import measure
from manyheads.heads import RowLogits, RowTargets, WordLogits
from manyheads.heads.ragged import Ragged, offsets_of
from manyheads.inference import Predictions
from manyheads.training.mistakes import EvaluatedRows

ROWS = 150
LABELS = ["a", "b", "c", "d"]
SPECS: dict[str, mh.HeadSpec] = {
    "multiclass": mh.Multiclass(LABELS),
    "ordinal": mh.Ordinal(LABELS),
    "multilabel": mh.MultiLabel(LABELS),
    "entities": mh.Tokens(LABELS),
    "words": mh.Tokens(LABELS, scheme="plain"),
}
TEMPERATURES = [0.05, 0.7, 1.3, 30.0]


def logits_of(spec: mh.HeadSpec, seed: int = 0) -> Any:
    """Return logits of texts, with ties, near ties and far ones among them."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, 12, ROWS) if spec.by_word else np.ones(ROWS, np.int64)
    values = draw.normal(0, draw.choice([0.1, 3.0, 40.0], size=(lengths.sum(), 1)), (lengths.sum(), spec.outputs))
    values[::7] = np.round(values[::7])
    values[::11] = values[::11, :1]
    values[::13, 1:2] = np.nextafter(values[::13, :1].astype(np.float32), np.float32(np.inf))
    values = values.astype(np.float32)
    return WordLogits(Ragged(values, offsets_of(lengths))) if spec.by_word else RowLogits(values)


def predicted(spec: mh.HeadSpec, logits: Any, decision: mh.Decision) -> Predictions:
    words = [np.stack([np.arange(len(row))] * 2, axis=1) for row in logits.values] if spec.by_word else None
    no = np.zeros(ROWS, bool)
    return Predictions({"head": spec}, {"head": logits}, no, no, words, {"head": decision})


def values_of(rows: Any) -> np.ndarray:
    return rows.values if isinstance(rows, Ragged) else rows


def labels(predictions: Predictions) -> list[object]:
    """Return the labels of every row, as objects and in a table."""
    columns = predictions.columns()
    name = next(iter(columns))
    rows = zip(predictions, columns[name], strict=True)
    return [
        (row["head"].label, row["head"].labels, without_scores(row["head"].spans), without_scores(cell))
        for row, cell in rows
    ]


def without_scores(cell: Any) -> object:
    spans = isinstance(cell, list | tuple) and all(isinstance(item, mh.Span) for item in cell)
    return [(span.start, span.end, span.label) for span in cell] if spans else cell


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("kind", SPECS)
def test_a_temperature_changes_scores_but_neither_labels_nor_logits(kind: str, temperature: float) -> None:
    spec, logits = SPECS[kind], logits_of(SPECS[kind])
    plain, calibrated = (predicted(spec, logits, one) for one in (mh.Decision(), mh.Decision(temperature=temperature)))
    assert labels(plain) == labels(calibrated)
    np.testing.assert_array_equal(values_of(plain.logits["head"]), values_of(calibrated.logits["head"]))
    cooled = spec.raw_scores(values_of(plain.logits["head"]) / np.float32(temperature))
    np.testing.assert_array_equal(values_of(calibrated.scores["head"]), cooled)


# Far below, the moved thresholds come too close to 1 for numbers.
@pytest.mark.parametrize("temperature", [0.5, 30.0])
def test_thresholds_move_with_the_temperature(temperature: float) -> None:
    spec, logits = SPECS["multilabel"], logits_of(SPECS["multilabel"])
    decision = mh.Decision(temperature=1.7, thresholds=[0.0, 0.31, 0.5, 0.93])
    moved = decision.with_temperature(temperature)
    assert labels(predicted(spec, logits, decision)) == labels(predicted(spec, logits, moved))
    assert moved.thresholds is not None
    assert moved.thresholds[::2] == (0.0, 0.5)
    assert moved.with_temperature(1.7).thresholds == pytest.approx(decision.thresholds)


@pytest.mark.parametrize("kind", SPECS)
def test_of_the_metrics_a_temperature_changes_log_losses_only(kind: str) -> None:
    spec, logits = SPECS[kind], logits_of(SPECS[kind]).values
    draw = np.random.default_rng(1)
    targets: Any = draw.integers(0, 4, len(values_of(logits)))
    if kind == "multilabel":
        targets = draw.integers(0, 2, (ROWS, 4)).astype(np.float32)
    targets = Ragged(targets, logits.offsets) if spec.by_word else targets
    plain, calibrated = (measure(spec, targets, logits, mh.Decision(temperature=t)) for t in (1, 3))
    assert {name for name in plain if plain[name] != calibrated[name]} == {"log_loss"} & set(plain)


def test_the_log_loss_is_scikit_learns_of_the_calibrated_scores() -> None:
    spec, logits, decision = SPECS["multiclass"], logits_of(SPECS["multiclass"]), mh.Decision(temperature=3)
    targets = np.random.default_rng(1).integers(0, 4, ROWS)
    expected = log_loss(targets, softmax(logits.values.astype(np.float64) / 3, axis=1))
    assert measure(spec, targets, logits.values, decision)["log_loss"] == pytest.approx(expected, rel=1e-5)


def test_mistakes_and_tables_and_predictions_show_one_number() -> None:
    spec, logits, decision = SPECS["ordinal"], logits_of(SPECS["ordinal"]), mh.Decision(temperature=3)
    targets = RowTargets(np.random.default_rng(1).integers(0, 4, ROWS))
    mistakes = EvaluatedRows(spec, np.arange(ROWS), [""] * ROWS, targets, logits, decision).mistakes(ROWS)
    found = predicted(spec, logits, decision)
    table = found.columns(all_scores=True)
    assert len(mistakes) > 50
    for mistake in mistakes:
        prediction = found[mistake.row]["head"]
        assert mistake.score == prediction.score == prediction.scores[prediction.label]
        assert table["head_score"][mistake.row] == mistake.score
        assert table[f"head_score_{prediction.label}"][mistake.row] == mistake.score
