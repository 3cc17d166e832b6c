"""L6, L23, L25, L30 through ``Predictor``: the path does not matter, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.inference import blocks
from tests.families import BY_NAME, FAMILIES, tokenizer_for
from tests.laws.oracle import different_texts, rows_read

TEXTS = different_texts(11)
LABELS = ["routine", "urgent", "emergency"]


def headed(family: str) -> mh.HeadedModel:
    """Return a model whose heads are far from zero, marked as trained so that nothing warns."""
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    model.add_head("urgency", mh.Multiclass(labels=LABELS))
    model.add_head("hours", mh.Regression(reads=mh.Hidden(layer=-2, pool="max")))
    model.add_head("topics", mh.MultiLabel(labels=["pain", "fever"], reads=mh.Hidden(layer="mix", pool="mean")))
    for head in model.heads.values():
        head.trained = True
        with torch.no_grad():
            head.output.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(3))
    return model


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_l30_lists_streams_and_the_live_forward_give_the_same_answers(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_STREAMED", 4)
    model = headed(family)
    predictor = mh.Predictor(model, batch_tokens=24)
    with rows_read(model.backbone) as rows:
        predictions = predictor(TEXTS, features=[mh.Hidden(pool="mean")])
    assert sum(rows) == len(TEXTS), "heads and features come from one pass"
    streamed = list(predictor.stream(iter(TEXTS)))
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logits = model(ids, torch.ones_like(ids)).logits
        wanted = logits["urgency"].softmax(dim=1)[0].numpy()
        np.testing.assert_allclose(predictions.scores["urgency"][row], wanted, atol=1e-5)
        np.testing.assert_allclose([*streamed[row]["urgency"].scores.values()], wanted, atol=1e-5)
        np.testing.assert_allclose(predictions.scores["topics"][row], logits["topics"].sigmoid()[0], atol=1e-5)
        assert streamed[row]["hours"].value == pytest.approx(float(logits["hours"][0, 0]), abs=1e-5)
