"""Watching epochs: which is the best and by what, when to stop, and that its weights are those that stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

import manyheads as mh
from manyheads.data.texts.tokenize import Tokenized
from manyheads.heads import Logits, RowLogits, RowTargets
from manyheads.training.dataset import TrainingData
from manyheads.training.tuning.best_epoch import EpochEvaluator
from manyheads.training.tuning.selection import Selection, selection_of
from tests.families import BY_NAME, tokenizer_for
from tests.laws.oracle import RECORDS, changed, snapshot

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

SPECS: dict[str, Any] = {
    "urgency": mh.Multiclass(["routine", "urgent", "emergency"]),
    "symptoms": mh.MultiLabel(["pain", "fever", "cough"]),
    "age": mh.Regression(),
}
MAIN = {"urgency": "accuracy", "symptoms": "micro_f1", "age": "r2"}


def headed(family: str = "gpt2", specs: Mapping[str, Any] = SPECS) -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    for name, spec in specs.items():
        model.add_head(name, spec)
    return model


@pytest.fixture(scope="module")
def heads() -> Mapping[str, Any]:
    return dict(headed().heads)


def data_of(evaluate: int = 4, **missing: bool) -> TrainingData:
    """Return four evaluation rows after two training rows."""
    targets = {
        "urgency": np.array([0, 1, 0, 1, 2, 0]),
        "symptoms": np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=np.float32),
        "age": np.array([1.0, 2.0, 1.0, 2.0, 3.0, 4.0], dtype=np.float32),
    }
    for name in missing:
        targets[name][2:] = -100 if name == "urgency" else np.nan
    ids = [[1, 2]] * 6
    tokenized = Tokenized({"input_ids": ids, "attention_mask": ids}, np.zeros(6, dtype=bool), 0)
    rows = np.arange(6)
    encoded = {name: RowTargets(values) for name, values in targets.items()}
    return TrainingData(tokenized, ["a"] * 6, encoded, rows[:2], rows[2 : 2 + evaluate], 0, "")


# --- by what an epoch is the best -----------------------------------------------------------------


def test_without_a_setting_nothing_is_selected(heads: Any) -> None:
    assert selection_of(None, None, heads, data_of(evaluate=0)) is None


@pytest.mark.parametrize(
    ("best_by", "weights"),
    [
        ("mean", {"urgency": 1.0, "symptoms": 1.0, "age": 1.0}),
        (None, {"urgency": 1.0, "symptoms": 1.0, "age": 1.0}),
        ("age", {"age": 1.0}),
        ({"age": 2, "urgency": 0.5}, {"age": 2.0, "urgency": 0.5}),
    ],
)
def test_whose_metrics_count(heads: Any, best_by: Any, weights: dict[str, float]) -> None:
    assert selection_of(best_by, 3, heads, data_of()) == Selection(weights, 3)


def test_a_head_called_mean_is_a_head() -> None:
    heads = dict(headed(specs={"mean": SPECS["age"], "urgency": SPECS["urgency"]}).heads)
    data = data_of()
    data.targets["mean"] = data.targets["age"]  # type: ignore[index]
    assert selection_of("mean", None, heads, data) == Selection({"mean": 1.0}, None)


@pytest.mark.parametrize("best_by", ["ages", {"age": 1, "ages": 1}, 3, ""])
def test_an_unknown_head_is_named(heads: Any, best_by: Any) -> None:
    with pytest.raises(mh.errors.UnknownHeadError, match=r"best_by: no head .* is being trained; the heads: 'urgency'"):
        selection_of(best_by, None, heads, data_of())


@pytest.mark.parametrize(("best_by", "patience"), [("mean", None), (None, 2), ("age", None), ({"age": 1}, 1)])
@pytest.mark.parametrize("why", ["no rows", "no labels"])
def test_nothing_to_judge_by_is_an_error(heads: Any, best_by: Any, patience: int | None, why: str) -> None:
    data = data_of(evaluate=0) if why == "no rows" else data_of(age=True)
    name = "urgency" if best_by in ("mean", None) and why == "no rows" else "age"
    with pytest.raises(mh.errors.MethodError, match=f"no evaluation row is labelled for head '{name}'; give eval_data"):
        selection_of(best_by, patience, heads, data)


def test_a_head_that_does_not_count_needs_no_labels(heads: Any) -> None:
    assert selection_of("urgency", None, heads, data_of(age=True)) == Selection({"urgency": 1.0}, None)


def test_the_score_is_the_weighted_mean_of_main_metrics(heads: Any) -> None:
    metrics = {
        "urgency": {"rows": 4, "accuracy": 0.75, "macro_f1": 0.1, "log_loss": 9.0},
        "symptoms": {"rows": 4, "micro_f1": 0.5, "macro_f1": 0.2},
        "age": {"rows": 4, "r2": -2.0, "mean_absolute_error": 7.0},
    }
    assert Selection({"urgency": 1.0}, None).score(metrics, heads) == 0.75
    assert Selection({"urgency": 3.0, "age": 1.0}, None).score(metrics, heads) == pytest.approx((2.25 - 2) / 4)
    assert Selection(dict.fromkeys(SPECS, 1.0), None).score(metrics, heads) == pytest.approx(-0.75 / 3)


@pytest.mark.parametrize("metrics", [{"rows": 1, "r2": math.nan}, {"rows": 0}])
def test_an_undefined_metric_is_worse_than_any(heads: Any, metrics: dict[str, float]) -> None:
    both = {"urgency": {"accuracy": 1.0}, "age": metrics}
    assert Selection({"urgency": 1.0, "age": 1.0}, None).score(both, heads) == -math.inf
    assert Selection({"urgency": 1.0}, None).score(both, heads) == 1.0


# --- epoch by epoch -------------------------------------------------------------------------------


class Run:
    """A run whose epochs reach, by decree, these accuracies of four rows."""

    def __init__(
        self, heads: Any, accuracies: Sequence[float], best_by: Any, patience: int | None, **settings: bool
    ) -> None:
        self.parameter = nn.Parameter(torch.zeros(2))
        self.accuracies, self.epoch = accuracies, 0
        self.data = data_of()
        self.heads = {"urgency": heads["urgency"]}
        selection = selection_of(best_by, patience, self.heads, self.data)
        self.watch = EpochEvaluator(self.heads, self.data, self.logits, [self.parameter], selection, **settings)
        self.measured: list[dict[str, Logits]] = []

    def logits(self, rows: np.ndarray) -> dict[str, Logits]:
        targets = self.data.targets["urgency"].take(rows).values
        right = round(4 * self.accuracies[self.epoch - 1])
        guesses = np.where(np.arange(4) < right, targets, (targets + 1) % 3)
        self.measured.append({"urgency": RowLogits(np.eye(3, dtype=np.float32)[guesses])})
        return self.measured[-1]

    def run(self) -> None:
        for epoch in range(1, len(self.accuracies) + 1):
            self.epoch = epoch
            with torch.no_grad():
                self.parameter.fill_(epoch)
            state = transformers.TrainerState(epoch=float(epoch), global_step=10 * epoch)
            control = transformers.TrainerControl()
            self.watch.on_epoch_end(None, state, control)
            if control.should_training_stop:
                return


@pytest.mark.parametrize(
    ("accuracies", "patience", "ran", "best"),
    [
        ([0.25, 0.75, 0.5], None, 3, 2),
        ([0.75, 0.5, 0.25, 1.0], 2, 3, 1),
        ([0.75, 0.5, 1.0, 0.5, 0.25, 1.0], 2, 5, 3),
        ([0.5, 0.25], 1, 2, 1),
        ([0.25, 0.5, 0.75, 1.0], 1, 4, 4),
        ([0.5, 0.5, 0.5, 0.5], 2, 3, 1),  # as good is no better, and the first stays
        ([0.0, 0.0], None, 2, 1),
    ],
)
def test_the_best_epoch_and_the_last(
    heads: Any, accuracies: list[float], patience: int | None, ran: int, best: int
) -> None:
    run = Run(heads, accuracies, "urgency", patience)
    run.run()
    assert run.epoch == ran
    assert run.watch.best_epoch == best
    found = run.watch.finish(10 * ran)
    assert torch.equal(run.parameter.detach(), torch.full((2,), float(best)))
    assert found is run.measured[best - 1]
    assert [record["accuracy"] for record in run.watch.history["urgency"]] == accuracies[:ran]
    assert [record["epoch"] for record in run.watch.history["urgency"]] == [float(epoch) for epoch in range(1, ran + 1)]


def test_without_selection_the_last_epoch_stays(heads: Any) -> None:
    run = Run(heads, [1.0, 0.25], None, None)
    run.run()
    assert run.watch.best_epoch is None
    assert run.watch.finish(20) is run.measured[1]
    assert float(run.parameter.detach()[0]) == 2.0
    # Steps after the last epoch's end: what was measured is not what stands.
    assert run.watch.finish(21) is None


def test_undefined_metrics_never_beat_a_number_and_the_first_stays_among_them(
    heads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([-math.inf, 0.25, -math.inf])
    monkeypatch.setattr(Selection, "score", lambda *_: next(scores))
    run = Run(heads, [0.5, 0.5, 0.5], "urgency", None)
    run.run()
    assert run.watch.best_epoch == 2
    monkeypatch.setattr(Selection, "score", lambda *_: -math.inf)
    run = Run(heads, [0.5] * 5, "urgency", 2)
    run.run()
    assert (run.watch.best_epoch, run.epoch) == (1, 3)


@pytest.mark.parametrize(
    ("start", "accuracies", "best_by", "best", "note"),
    [
        (0.75, [0.5, 0.75], "urgency", 0, "No epoch was better than the heads solved before tuning"),
        (0.5, [0.25, 0.75], "urgency", 2, ""),
        (0.75, [0.5, 0.75], None, None, "accuracy 0.750 after tuning is not above the 0.750 of the head solved before"),
        (0.5, [1.0, 0.75], None, None, ""),
    ],
)
def test_heads_solved_before_are_epoch_0(
    heads: Any, start: float, accuracies: list[float], best_by: str | None, best: int | None, note: str
) -> None:
    run = Run(heads, [*accuracies, start], best_by, None, solved=True)  # epoch 0 is the last by index -1
    run.watch.on_train_begin(None, transformers.TrainerState(epoch=0, global_step=0), transformers.TrainerControl())
    run.accuracies = accuracies
    run.run()
    assert run.watch.best_epoch == best
    assert [record["epoch"] for record in run.watch.history["urgency"]] == [0.0, 1.0, 2.0]
    final = run.watch.finish(20)
    assert float(run.parameter.detach()[0]) == (2 if best is None else best)
    notes = run.watch.notes(final)
    assert len(notes) == bool(note)
    assert all(note in found for found in notes)


def test_a_resumed_run_measures_its_start_no_second_time(heads: Any) -> None:
    run = Run(heads, [0.5], None, None, solved=True)
    run.watch.on_train_begin(None, transformers.TrainerState(epoch=1, global_step=7), transformers.TrainerControl())
    assert run.measured == []


def test_what_is_kept_is_a_copy(heads: Any) -> None:
    run = Run(heads, [1.0, 0.5], "urgency", None)
    run.run()
    with torch.no_grad():
        run.parameter.fill_(math.nan)
    run.watch.finish(20)
    assert float(run.parameter.detach()[0]) == 1.0


# --- in training ----------------------------------------------------------------------------------

DATA = [{**record, "age": float(len(str(record["text"]))) / 40} for record in RECORDS]
METHODS: dict[str, Callable[..., Any]] = {"full": mh.Full, "fork": mh.Fork}


def train(model: mh.HeadedModel, method: str, fraction: float = 0.4, **settings: Any) -> Any:
    given = {"epochs": 4, "batch_rows": 8, "lr": 3e-3, "head_lr": 0.05, "start": "random", **settings}
    return mh.train(model, DATA, "text", METHODS[method](**given), eval_fraction=fraction)


@pytest.mark.parametrize("best_by", ["mean", "age", {"urgency": 3.0, "age": 1.0}], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_the_metrics_reported_are_the_best_epochs(method: str, best_by: Any, own_cache: object) -> None:
    model = headed()
    result = train(model, method, best_by=best_by)
    weights = (
        {"mean": dict.fromkeys(SPECS, 1.0), "age": {"age": 1.0}}.get(best_by) if isinstance(best_by, str) else best_by
    )
    scores = [
        sum(weight * result.history[name][epoch][MAIN[name]] for name, weight in weights.items()) for epoch in range(4)
    ]
    best = int(np.argmax(scores))
    assert {result.chosen[name]["best_epoch"] for name in SPECS} == {best + 1.0}
    tolerance = 1e-6 if method == "full" else 0.02  # a fork's epochs are judged on states kept in bf16
    for name in SPECS:
        expected = {key: value for key, value in result.history[name][best].items() if key not in ("epoch", "rows")}
        found = {key: result.metrics[name][key] for key in expected}
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    # And so are the weights: what predicts now has these very metrics.
    rows = [DATA[row] for row in result.evaluated]
    predicted = model.predict([str(row["text"]) for row in rows]).values["age"]
    errors = np.abs(predicted - [row["age"] for row in rows])
    assert result.metrics["age"]["mean_absolute_error"] == pytest.approx(errors.mean(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_weights_kept_are_those_of_a_run_that_ended_there(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Selecting the first epoch of two, at a constant rate, is training for one."""
    monkeypatch.setattr(Selection, "score", lambda selection, metrics, heads: -len(seen))
    seen: list[dict[str, Tensor]] = []
    end = EpochEvaluator.on_epoch_end

    def look(watch: EpochEvaluator, *given: Any, **named: Any) -> None:
        seen.append(snapshot(model))
        end(watch, *given, **named)

    monkeypatch.setattr(EpochEvaluator, "on_epoch_end", look)
    model = headed()
    train(model, method, epochs=2, best_by="mean")
    assert changed(model, seen[0]) == []
    assert changed(model, seen[1]) != []


@pytest.mark.parametrize("method", METHODS)
def test_tuning_that_only_harms_is_told_and_undone_by_best_by(method: str) -> None:
    harmed, kept, frozen = headed(), headed(), headed()
    settings = {"start": "frozen", "epochs": 1, "lr": 0.3, "head_lr": 1.0}
    result = train(harmed, method, **settings)
    assert any("after tuning is not above the" in note for note in result.notes)
    result = train(kept, method, **settings, best_by="mean")
    assert (
        "No epoch was better than the heads solved before tuning, so the model is as they were solved." in result.notes
    )
    assert result.chosen["age"]["best_epoch"] == 0
    mh.train(frozen, DATA, "text", mh.Frozen(), eval_fraction=0.4)
    texts = [str(row["text"]) for row in DATA]
    np.testing.assert_allclose(kept.predict(texts).values["age"], frozen.predict(texts).values["age"], atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_patience_ends_a_run(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1.0, 2.0, 1.5, 1.5, 9.0, 9.0])
    monkeypatch.setattr(Selection, "score", lambda *_: next(scores))
    result = train(headed(), method, epochs=6, patience=2)
    assert len(result.history["age"]) == 4
    assert result.chosen["age"]["best_epoch"] == 2.0
    assert result.chosen["age"]["epochs"] == 4.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("settings", "error"),
    [({"best_by": "agee"}, mh.errors.UnknownHeadError), ({"patience": 1, "fraction": 0}, mh.errors.MethodError)],
)
def test_a_selection_that_cannot_be_is_rejected_before_anything_runs(
    method: str, settings: dict[str, Any], error: type[Exception]
) -> None:
    model = headed()
    before = snapshot(model)
    with pytest.raises(error, match="best_by"):
        train(model, method, **settings)
    assert changed(model, before) == []
    assert list(model.core.backbone.branches) == []


def test_one_evaluation_row_leaves_r_squared_undefined_and_a_run_whole() -> None:
    model = headed(specs={"age": SPECS["age"]})
    method = mh.Fork(epochs=2, batch_rows=8, start="random", best_by="age")
    result = mh.train(model, DATA, "text", method, eval_data=DATA[:1])
    assert math.isnan(result.metrics["age"]["r2"])
    assert result.chosen["age"]["best_epoch"] == 1.0
    assert model.heads["age"].summary["metrics"]["r2"] is None
