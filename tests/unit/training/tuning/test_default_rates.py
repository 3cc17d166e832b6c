"""The learning rates of ``Full`` where none is given: low ones where a language model would forget."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertModel

import manyheads as mh
from manyheads.training.tuning.learning_rates import default_rates
from tests.families import BY_NAME, tokenizer_for


def model(with_lm: bool) -> mh.HeadedModel:
    bert = BY_NAME["bert"].build()
    if not with_lm:
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4, "num_hidden_layers": 2}
        bert = BertModel(BertConfig(vocab_size=bert.config.vocab_size, **sizes))
    found = mh.HeadedModel.wrap(bert, tokenizer_for(BY_NAME["bert"]))
    found.add_head("label", mh.Multiclass(["a", "b"]))
    return found


@pytest.mark.parametrize(("with_lm", "rates"), [(True, (2e-5, 1.0)), (False, (3e-4 * 384 / 32, 0.75))])
def test_rates_depend_on_the_language_model_and_the_hidden_size(with_lm: bool, rates: tuple[float, float]) -> None:
    backbone = model(with_lm).core.backbone
    assert default_rates(backbone) == pytest.approx(rates)
    assert mh.Full().rate(backbone) == pytest.approx(rates[0])
    assert mh.Full(lr=1e-5).rate(backbone) == 1e-5


def test_lower_blocks_learn_slower_unless_a_rate_is_given() -> None:
    core = model(with_lm=False).core
    first, last = (next(block.parameters()) for block in core.backbone.blocks())
    found = mh.Full()._rates(core.backbone)
    assert found[first] == pytest.approx(0.75 * found[last])
    assert found[core.backbone.model.embeddings.word_embeddings.weight] == pytest.approx(0.75**2 * found[last])
    assert set(mh.Full(lr=1e-3)._rates(core.backbone).values()) == {1e-3}
    assert mh.Full(lr=1e-3, layer_decay=0.5)._rates(core.backbone)[first] == pytest.approx(5e-4)
