"""The results of one trained head: its rows, its metrics, and the summary saved with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from manyheads.data.labelled import Reading
from manyheads.deciding.temperature import TemperatureFit
from manyheads.errors import counted, listed
from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.lm_check import LMCheck
from manyheads.evaluation.metrics import Metrics, baseline, short_metrics
from manyheads.evaluation.report.plain import plain_json
from manyheads.heads import Head, Logits, Targets
from manyheads.training.fit import HELD_OUT, FitResult
from manyheads.training.method import Method
from manyheads.training.prepare import Prepared
from manyheads.training.result import OutOfFold

# Fewer evaluation rows are pointed out: the standard error of an accuracy of .8 is then above .07.
FEW_ROWS = 30
# With fewer labelled rows, a tenth of them is a hundred: too few to tell much, and cross-validation is cheap.
SMALL_TABLE = 1000
# Reduction of a log loss by a temperature that is worth a sentence: smaller ones vanish in three digits.
LEAST_GAIN = 0.0005


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """One head after training.

    Attributes:
        name: Its name.
        head: The head with its new weights.
        prepared: The training and evaluation rows of all heads.
        fit: Its fit.
        logits: Its fp32 logits of the evaluation rows.
    """

    name: str
    head: Head
    prepared: Prepared
    fit: FitResult
    logits: Logits

    @property
    def targets(self) -> Targets:
        """Its targets of all rows."""
        return self.prepared.data.targets[self.name]

    @cached_property
    def metrics(self) -> Metrics:
        """Metrics on the evaluation rows, of its predictions and of a constant prediction."""
        data, predicted = self.prepared.data, self.predicted
        train, evaluate = (self.targets.take(rows).values for rows in (data.train, data.evaluate))
        targets = evaluate if predicted.unknown is None else predicted.unknown.targets.values
        return short_metrics(predicted.scored) | baseline(self.head.spec, train, targets)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Number of its labelled training and evaluation rows."""
        data, labelled = self.prepared.data, self.targets.labelled
        return {"train": int(labelled[data.train].sum()), "evaluate": int(labelled[data.evaluate].sum())}

    @property
    def reads(self) -> str:
        """Its taps."""
        return " + ".join(str(tap) for tap in self.head.taps)

    @property
    def out_of_fold(self) -> OutOfFold:
        """Its logits of the training rows that a fold held out."""
        table_rows = self.prepared.train_rows
        if not len(self.fit.out_of_fold):
            return OutOfFold(table_rows[:0], np.empty((0, self.head.spec.outputs), dtype=np.float32))
        rows = self.prepared.data.labelled(self.name)
        item_rows = rows[self.targets.take(rows).items().rows]
        held_out = ~np.isnan(self.fit.out_of_fold).any(axis=1)
        return OutOfFold(table_rows[item_rows[held_out]], self.fit.out_of_fold[held_out])

    @cached_property
    def predicted(self) -> EvaluatedRows:
        """Its predictions of the evaluation rows."""
        data = self.prepared.data
        texts = [data.texts[row] for row in data.evaluate]
        targets = self.targets.take(data.evaluate)
        return EvaluatedRows(
            self.head.spec,
            self.prepared.evaluation_rows,
            texts,
            targets,
            self.logits.values,
            self.head.decision,
            self.prepared.unknown.get(self.name),
        )

    @property
    def notes(self) -> list[str]:
        """Sentences on labels with too few rows, on names of labels that were trained on, on the temperature, and on a
        head that predicts no better than a constant.
        """
        spec, data, name = self.head.spec, self.prepared.data, self.name
        counts = Counter(found for row in self.targets.take(data.train).classes() for found in row)
        labels = getattr(spec, "classes", ())
        single = [labels[place] for place, count in counts.items() if count == 1 and not spec.has_spans]
        found = []
        if single:
            found.append(
                f"Head {name!r}: {counted(len(single), 'label')} with one training row only, such as {single[0]!r}."
            )
        if "label_names" in self.fit.settings:
            found.append(_names_note(name, self.fit, self.targets.unit))
        temperature = self.fit.temperature
        if temperature is not None and temperature.temperature != 1 and _is_worth_a_note(temperature):
            items = f"{temperature.items:,} held-out {self.targets.unit}"
            found.append(
                f"Head {name!r}: its scores are calibrated by the temperature {temperature.temperature:.3g}, "
                + (
                    f"measured against that of its frozen part on {items}."
                    if temperature.beside
                    else f"which lowers the log loss of {items} by {temperature.gain:.3g} (standard error "
                    f"{temperature.error:.1g})."
                )
            )
        accuracy, majority = (self.metrics.get(key) for key in ("accuracy", "majority_accuracy"))
        if accuracy is not None and majority is not None and accuracy < majority:
            found.append(
                f"Head {name!r}: its accuracy {accuracy:.3f} is below {majority:.3f}, that of always predicting the "
                "most frequent label."
            )
        return found

    @property
    def label_rows(self) -> list[int] | None:
        """Number of training rows with each label, in the order of the labels; ``None`` for numbers and entities."""
        labels = getattr(self.head.spec, "labels", None)
        if labels is None or getattr(self.head.spec, "classes", None) != tuple(labels):
            return None
        rows = self.targets.take(self.prepared.data.train).classes()
        counts = Counter(found for row in rows for found in row)
        return [counts[place] for place in range(len(labels))]

    def summary(self, method: Method, reading: Reading, lm_check: LMCheck) -> dict[str, Any]:
        """Return a record of the training as plain JSON, to be saved with the head; an undefined metric is ``None``."""
        data = self.prepared.data
        truncated = int(data.tokenized.truncated[data.train].sum())
        given = {"weight": reading.weight, "max_length": reading.max_length, "truncated_texts": truncated or None}
        return {
            **method.describe(),
            "text": reading.text if isinstance(reading.text, str) else list(reading.text),
            **{name: value for name, value in given.items() if value is not None},
            "settings": self.fit.settings,
            "rows": self.rows,
            "label_rows": self.label_rows,
            "metrics": _without_nan(self.metrics),
            "history": [_without_nan(record) for record in self.fit.history],
            "temperature": None if self.fit.temperature is None else self.fit.temperature.record(),
            "tried": [alternative.record() for alternative in self.fit.alternatives],
            "lm_check": plain_json(lm_check),
        }


def _is_worth_a_note(temperature: TemperatureFit) -> bool:
    return temperature.beside or temperature.gain >= LEAST_GAIN


def _names_note(head: str, fit: FitResult, unit: str) -> str:
    """Return a sentence on the names of labels that a head was trained on: what they were worth with the same taps."""
    solved = [tried for tried in fit.alternatives if tried.by.startswith(HELD_OUT)]
    with_names = [tried for tried in solved if "label_names" in tried.settings]
    without = [tried for tried in solved if tried not in with_names and tried.reads == with_names[0].reads]
    losses = [min(tried.loss for tried in part) for part in (without, with_names)]
    count = int(fit.settings["label_names"])
    return (
        f"Head {head!r}: it was trained on the names of {counted(count, 'label')} too, which lowers the loss of "
        f"held-out {unit} from {losses[0]:.3g} to {losses[1]:.3g}."
    )


def few_rows_notes(trained: Mapping[str, TrainedHead], held_out: bool) -> list[str]:
    """Return sentences on heads with too few evaluation rows, and on a table that is small enough to test all its rows.

    Args:
        trained: The heads.
        held_out: Whether the evaluation rows are of the training table.
    """
    prepared = next(iter(trained.values())).prepared
    evaluated = len(prepared.evaluation_rows)
    rows = len(prepared.train_rows) + evaluated
    if not held_out or not evaluated or rows >= SMALL_TABLE:
        return _few_rows(trained)
    return [
        *_few_rows(trained),
        f"The metrics are of {counted(evaluated, 'row')} only; cross_validate (manyheads evaluate --cross-validate) "
        f"tests all {rows}.",
    ]


def _few_rows(trained: Mapping[str, TrainedHead]) -> list[str]:
    few = {name: one.rows["evaluate"] for name, one in trained.items() if 0 < one.rows["evaluate"] < FEW_ROWS}
    if not few:
        return []
    rows = " to ".join(f"{count}" for count in sorted({min(few.values()), max(few.values())}))
    return [f"{rows} evaluation rows are too few for reliable metrics of {listed(few)}."]


def _without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
