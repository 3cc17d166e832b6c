"""A watched run: what the watch sees, that it changes nothing, and that the model is afterwards as before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.data.labelled import Reading
from manyheads.heads import Logits
from manyheads.training.dataset import Evaluation
from manyheads.training.prepare import prepare
from manyheads.training.tuning.run import try_out
from manyheads.training.tuning.watch import StoppedRunError, Watch
from tests.families import BY_NAME, tokenizer_for
from tests.laws.oracle import RECORDS, changed, snapshot

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

ROWS = [{**record, "text": f"{record['text']} {row}"} for row, record in enumerate(RECORDS * 2)]
METHODS = {
    "full": mh.Full(epochs=2, lr=1e-3, batch_rows=4),
    "fork": mh.Fork(top=1, epochs=2, lr=1e-3, cache=None, batch_rows=4),
    "lora": mh.LoRA(r=2, epochs=2, lr=1e-3, batch_rows=4),
}


class Recorder(Watch):
    """Records what it sees."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.shares: list[float] = []
        self.done: list[float] = []
        self.logits: list[np.ndarray] = []
        self._stop_at = stop_at

    def after_step(self, steps: int, share: float) -> None:
        assert steps == len(self.shares) + 1
        self.shares.append(share)
        if steps == self._stop_at:
            raise StoppedRunError("enough")

    def after_epoch(self, done: float, logits_of: Callable[[float], Mapping[str, Logits]]) -> None:
        self.done.append(done)
        self.logits = [logits_of(share)["urgency"].values for share in (0.0, 0.5, 1.0)]


@pytest.fixture
def model() -> mh.HeadedModel:
    torch.manual_seed(0)
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"]))
    return model


def run(model: mh.HeadedModel, method: Any, watch: Watch | None) -> np.ndarray:
    heads = dict(model.heads)
    prepared = prepare(model.core, model.tokenizer, ROWS, heads, Reading("text"), Evaluation(fraction=0.25))
    before = snapshot(model.core)
    try:
        values: np.ndarray = try_out(method, model.core, heads, prepared.data, watch).logits["urgency"].values
    finally:
        assert changed(model.core, before) == []
        assert not model.heads["urgency"].trained
        assert not model.core.backbone.branches
    return values


@pytest.mark.parametrize("name", METHODS)
def test_a_watch_sees_tokens_and_mixed_weights_and_changes_nothing(model: mh.HeadedModel, name: str) -> None:
    watch = Recorder()
    watched = run(model, METHODS[name], watch)
    assert watch.shares == sorted(set(watch.shares))
    assert watch.shares[-1] == pytest.approx(1.0)
    assert watch.done == [0.5]
    start, half, tuned = watch.logits
    assert not np.allclose(start, tuned)
    assert not np.allclose(half, tuned)
    assert np.array_equal(run(model, METHODS[name], None), watched)


@pytest.mark.parametrize("name", METHODS)
def test_a_stopped_run_leaves_the_model_as_before(model: mh.HeadedModel, name: str) -> None:
    with pytest.raises(StoppedRunError, match="enough"):
        run(model, METHODS[name], Recorder(stop_at=3))
