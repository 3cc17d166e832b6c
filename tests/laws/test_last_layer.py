"""Token heads whose layers were searched also read the last one while they are tuned, so that every block trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.taps import Branched, Words
from tests.families import WORDS
from tests.laws.oracle import changed, snapshot

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")
SETTINGS = {"epochs": 1, "lr": 1e-3, "weight_decay": 0.0, "tuned_share": 1.0}
METHODS = {
    "full": mh.Full(**SETTINGS),  # type: ignore[arg-type]
    "fork": mh.Fork(top=2, cache=None, frozen_share=0, **SETTINGS),  # type: ignore[arg-type]
    "lora": mh.LoRA(r=2, **SETTINGS),  # type: ignore[arg-type]
}


def table() -> list[dict[str, object]]:
    """Return texts whose words decide their tags."""
    draw = np.random.default_rng(1)
    rows: list[dict[str, object]] = []
    for _ in range(60):
        words = draw.choice(WORDS[:60], size=int(draw.integers(4, 12))).tolist()
        rows.append({"text": " ".join(words), "tags": ["xy"[WORDS.index(word) % 2] for word in words]})
    return rows


def tuned(saved: Callable[[str], Path], method: Any, **settings: Any) -> tuple[mh.HeadedModel, list[str]]:
    """Train on a backbone whose last layer is the same for every word; return the model and what changed of it."""
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    with torch.no_grad():
        model.core.backbone.stack.encoder.layer[-1].output.LayerNorm.weight.zero_()
    model.add_head("tags", mh.Tokens(["x", "y"], scheme="plain", words="spaces", window=0, **settings))
    before = snapshot(model.core)
    mh.train(model, table(), text="text", method=method, eval_fraction=0)
    return model, changed(model.core, before)


def on_backbone(tap: object) -> object:
    return tap.reads if isinstance(tap, Branched) else tap


@pytest.mark.parametrize("name", METHODS)
def test_a_head_on_a_middle_layer_also_reads_the_last_one(saved: Callable[[str], Path], name: str) -> None:
    model, _ = tuned(saved, METHODS[name])
    taps = [on_backbone(tap) for tap in model.heads["tags"].taps]
    assert isinstance(taps[0], Words)
    assert taps[0].layer < -1
    assert taps[-1] == Words(-1)


def test_every_block_trains(saved: Callable[[str], Path]) -> None:
    model, names = tuned(saved, METHODS["full"])
    blocks = {f".layer.{number}." for number in range(len(model.core.backbone.facts.widths) - 1)}
    assert {block for block in blocks if any(block in name for name in names)} == blocks


def test_layers_that_are_named_stay_alone(saved: Callable[[str], Path]) -> None:
    model, names = tuned(saved, METHODS["full"], reads=mh.Hidden(-2))
    assert model.heads["tags"].taps == (Words(-2),)
    assert not [name for name in names if f".layer.{len(model.core.backbone.facts.widths) - 2}." in name]
