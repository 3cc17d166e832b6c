"""``fit_decision``: fit how a head decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manyheads.data.labelled import Reading
from manyheads.data.texts.texts import Texts
from manyheads.deciding.promises.decision_fit import DecisionFit
from manyheads.deciding.promises.fit import fit_decision_of
from manyheads.deciding.promises.goals import Goals
from manyheads.features import open_cache
from manyheads.inference import Scorer, ScoringSettings
from manyheads.model import HeadedModel


def fit_decision(
    model: HeadedModel,
    head: str,
    data: object,
    text: str | Sequence[str],
    *,
    max_error: float | None = None,
    confidence: float | None = None,
    answered: float | None = None,
    abstain_by: str = "entropy",
    set_coverage: float | None = None,
    set_by: str = "lac",
    thresholds: str | Mapping[str, float] | None = None,
    costs: Any = None,
    max_length: int | None = None,
    long_text: str = "truncate",
    cache: str | Path | None = None,
) -> DecisionFit:
    """Fit how a trained head decides, on labelled rows that it was not trained on, and set ``head.decision``.

    Logits and scores stay the same; predictions and scored tables follow the decision from now on. Settings that are
    not asked for stay, too. All promises are for texts from the same source as these rows.

    Args:
        model: The model.
        head: The head's name.
        data: A table, as in ``train``; rows without a label are left out.
        text: The text column, or two columns for text pairs.
        max_error: The largest share of wrong answers: the head abstains where it is not sure enough. It holds on
            average over draws of the rows, or, with a ``confidence``, in that share of draws.
        confidence: The probability with which ``max_error`` holds, such as 0.95 (learn then test, Angelopoulos et al.
            2021); needs MAPIE.
        answered: The share of texts like these to answer at least; the head abstains from the least sure ones, which
            are those that it is not made for, such as texts out of scope.
        abstain_by: The abstention score: ``"entropy"`` or ``"probability"``, see ``Decision``.
        set_coverage: The share of prediction sets that contain the right label at least, by split conformal prediction
            (Angelopoulos and Bates 2021). A set always contains the predicted label.
        set_by: The conformity score: ``"lac"`` (smallest sets on average) or ``"aps"`` (more even coverage of easy and
            hard texts).
        thresholds: For a head with several labels per text: ``"f1"``, ``{"precision": 0.9}`` or ``{"recall": 0.95}``,
            for each label.
        costs: Costs of answers; the label with the least expected cost is predicted. A mapping of right labels to
            mappings of predicted labels to costs, in which a pair that is left out costs 0 if it is right and 1 if it
            is wrong; a matrix in the order of the labels, a row per right label; or the path of a table with the right
            labels in its first column and a column per predicted label.
        max_length: Maximum tokens per text; the backbone's limit by default.
        long_text: As in ``predict``. A decision holds for texts that are read like those it was fitted on.
        cache: Folder of a feature cache, or ``"auto"``, as in ``predict``.

    Returns:
        What was fitted, on how many rows, and what it promises.

    Raises:
        UnknownHeadError: no head has this name.
        HeadError: no goal, a goal out of its range or one that the head cannot have, or an untrained head.
        DataError: no labels, unknown ones, costs of another shape, or too few rows for a promise: says how many it
            needs. The decision stays.
        MissingExtraError: a ``confidence`` without MAPIE.

    Examples:
        >>> fit = mh.fit_decision(trained, "urgency", table, text="note", answered=0.9, set_coverage=0.8)
        >>> prediction = trained.predict(texts)[0]["urgency"]
        >>> prediction.abstained in (True, False), prediction.label in prediction.set
        (True, True)
    """
    goals = Goals(max_error, confidence, answered, abstain_by, set_coverage, set_by, thresholds, costs)
    scorer = Scorer(model.core, model.tokenizer, ScoringSettings(max_length, long_text), open_cache(cache))

    def logits_of(texts: Texts) -> Any:
        return scorer(texts, [head]).logits[head]

    return fit_decision_of(model.heads[head], head, data, Reading(text), goals, logits_of)
