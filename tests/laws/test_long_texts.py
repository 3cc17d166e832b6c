"""L6, L23, L30 on long texts: a window is read like a text, and the answers of a text are those of its windows.

The tokenizers of BERT and GPT-2 here have a token per word, so that a window is a text that a person can write down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import manyheads as mh
from tests.families import FAMILIES, TEXTS, WORDS, Family
from tests.laws.oracle import RECORDS, headed, over, rows_read, tags_of
from tests.unit.evaluation.test_kinds import SPECS

Saved = Callable[[str], Path]
LABELS = ["routine", "urgent", "emergency"]
LONG = " ".join((WORDS * 2)[7:57])  # 50 words, in windows of 16 from 0, 11, 22 and 34
STARTS = (0, 11, 22, 34)
# Texts short and long, an empty one and one just at the limit of 16 words.
MIXED = [*TEXTS[:3], "", LONG, " ".join(WORDS[:16]), TEXTS[5]]
LENGTH = {"bert": 18, "gpt2": 16}


def trained(model: mh.HeadedModel) -> mh.HeadedModel:
    """Count the heads' drawn weights as trained ones."""
    for head in model.heads.values():
        head.trained = True
    return model


def window_texts(text: str = LONG) -> list[str]:
    words = text.split()
    return [" ".join(words[start : start + 16]) for start in STARTS]


def windows_by_hand(tokenizer: Any, text: str, limit: int) -> list[list[int]]:
    """Return the ids of windows, from a tokenizer that adds its special tokens itself."""
    whole, inner = tokenizer(text)["input_ids"], tokenizer(text, add_special_tokens=False)["input_ids"]
    begin = next(at for at in range(len(whole)) if whole[at : at + len(inner)] == inner)
    before, after = whole[:begin], whole[begin + len(inner) :]
    room = limit - len(before) - len(after)
    gaps = math.ceil((len(inner) - room) / (room - room // 4))
    starts = [(len(inner) - room) * gap // gaps for gap in range(gaps + 1)]
    return [[*before, *inner[start : start + room], *after] for start in starts]


@over("L6", FAMILIES)
def test_every_family_answers_by_its_windows(saved: Saved, family: Family) -> None:
    specs = {
        "urgency": mh.Multiclass(labels=LABELS),
        "age": mh.Regression(reads=[mh.Hidden(layer=1, pool="mean"), mh.Output("urgency")]),
    }
    model = trained(headed(saved(family.name), specs))
    neutral = model.predict([*TEXTS[:2], LONG], max_length=14, long_text="mean")
    model.heads["urgency"].decision = mh.Decision(temperature=1.7)
    found = model.predict([*TEXTS[:2], LONG], max_length=14, long_text="mean")
    cut = model.predict([*TEXTS[:2], LONG], max_length=14)
    windows = windows_by_hand(model.tokenizer, LONG, 14)
    assert found.windows.tolist() == [1, 1, len(windows)]
    assert cut.truncated.tolist() == found.split.tolist() == [False, False, True]
    np.testing.assert_allclose(found.logits["urgency"][:2], cut.logits["urgency"][:2], atol=1e-5)
    within = [model.predict(TEXTS[:2], max_length=14, long_text=how).logits["urgency"] for how in ("truncate", "mean")]
    assert np.array_equal(*within), "the same batches, the same bits"
    with torch.no_grad():
        alone = [model(torch.tensor([ids])).logits for ids in windows]
    pooled = torch.cat([logits["urgency"].softmax(dim=1) for logits in alone]).mean(dim=0)
    np.testing.assert_allclose(neutral.scores["urgency"][2], pooled.numpy(), atol=1e-5)
    np.testing.assert_allclose(found.scores["urgency"][2], (pooled.log() / 1.7).softmax(dim=0).numpy(), atol=1e-5)
    assert np.array_equal(found.logits["urgency"], neutral.logits["urgency"]), "L26: a temperature changes no logit"
    np.testing.assert_allclose(found.values["age"][2], torch.cat([out["age"] for out in alone]).mean(), atol=1e-5)


POOLED: dict[str, Any] = {name: spec for name, spec in SPECS.items() if not spec.by_word}
READING: dict[str, Any] = {
    "attention": mh.Multiclass(LABELS, reads=mh.Hidden(pool="attention"), hidden=[8]),
    "mix": mh.MultiLabel(LABELS, reads=mh.Hidden(layer="mix")),
    "words": mh.Ordinal(LABELS, reads=mh.LMLogits(top_k=8)),
    "output": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Output("multiclass")]),
}


@pytest.mark.parametrize("name", LENGTH)
def test_every_kind_of_head_pools_the_scores_of_the_texts_of_its_windows(saved: Saved, name: str) -> None:
    model = trained(headed(saved(name), POOLED | READING))
    predictor = mh.Predictor(model, long_text="mean", max_length=LENGTH[name])
    tap = mh.Hidden(pool="mean")
    predictor(["burn"])  # the first pass also probes the backbone
    with rows_read(model.backbone) as rows:
        found = predictor(MIXED, features=[tap])
    assert sum(rows) == len(MIXED) - 1 + len(STARTS), "each window is a row of the one pass"
    assert found.windows.tolist() == [1, 1, 1, 1, len(STARTS), 1, 1]
    assert not found.truncated.any()
    windows = predictor(window_texts(), features=[tap])
    for head, values in {**windows.scores, **windows.values}.items():
        own = found.scores[head] if head in found.scores else found.values[head]
        np.testing.assert_allclose(own[4], values.mean(axis=0), atol=1e-5, err_msg=head)
    np.testing.assert_allclose(found.features[tap][4], windows.features[tap].mean(axis=0), atol=1e-5)
    largest = mh.Predictor(model, long_text="max", max_length=LENGTH[name])([LONG])
    np.testing.assert_allclose(largest.scores["multilabel"][0], windows.scores["multilabel"].max(axis=0), atol=1e-5)
    np.testing.assert_allclose(largest.values["count"][0], windows.values["count"].max(), atol=1e-5)
    short = [row for row, text in enumerate(MIXED) if text != LONG]
    whole = model.predict([MIXED[row] for row in short])
    np.testing.assert_allclose(found.logits["output"][short], whole.logits["output"], atol=1e-5)


@pytest.mark.parametrize("window", [0, 1])
def test_words_are_read_in_the_window_that_sees_most_around_them(saved: Saved, window: int) -> None:
    specs = {"found": mh.Tokens(["symptom", "place"], window=window), "urgency": mh.Multiclass(LABELS)}
    model = trained(headed(saved("bert"), specs))
    found = model.predict(MIXED, max_length=18, long_text="max")
    windows = model.predict(window_texts())
    expected = []
    for word in range(50):
        seen = [  # in no window is a word farther from the nearest end of it, where the text goes on
            (min(word - start if start else 50, start + 15 - word if start < 34 else 50), -place)
            for place, start in enumerate(STARTS)
            if start <= word < start + 16
        ]
        place = -max(seen)[1]
        expected.append(windows.logits["found"][place][word - STARTS[place]])
    np.testing.assert_allclose(found.logits["found"][4], np.array(expected), atol=1e-5)
    assert [LONG[start:end] for start, end in found.words[4]] == LONG.split()
    whole = model.predict([LONG])  # the backbone's limit is 64
    assert np.array_equal(found.words[4], whole.words[0])
    spans = found[4]["found"].spans
    assert spans, "tags are decoded over the whole text"
    assert max(span.end for span in spans) > len(" ".join(LONG.split()[:16]))
    assert found.logits["found"][3].shape == (0, 5)
    rows = [{"text": LONG, "found": tags_of(LONG)}]
    for how, lost in (("truncate", True), ("mean", False)):
        report = mh.evaluate(model, rows, text="text", heads=["found"], max_length=18, long_text=how)
        assert any("cut off: 34 labelled words" in note for note in report.notes) is lost


def test_prompts_stand_in_every_window_and_take_room_from_no_other_head(saved: Saved) -> None:
    plain = {"age": mh.Regression()}
    asked = {"urgency": mh.Multiclass(LABELS, reads=mh.Hidden(prompt="fever {text} pain"))}
    model = trained(headed(saved("bert"), plain | asked))
    text = " ".join(WORDS[:72])  # 74 tokens; the limit is 64, and 62 beside the prompt
    found = model.predict([text, TEXTS[0]], long_text="mean")
    alone = {name: model.predict([text, TEXTS[0]], heads=[name], long_text="mean") for name in model.heads}
    for name, predictions in alone.items():
        np.testing.assert_allclose(found.logits[name], predictions.logits[name], atol=1e-5)
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    cls, fever, pain, sep = model.tokenizer("fever pain")["input_ids"]
    with torch.no_grad():
        prompted = [
            model.backbone.bert(torch.tensor([[cls, fever, *ids[start : start + 60], pain, sep]])).last_hidden_state
            for start in (0, 12)
        ]
    scores = [model.heads["urgency"].output(states.mean(dim=1)).softmax(dim=1) for states in prompted]
    np.testing.assert_allclose(found.scores["urgency"][0], torch.cat(scores).mean(dim=0).detach(), atol=1e-5)


def test_a_text_within_the_limit_is_split_for_its_prompt_alone(saved: Saved) -> None:
    specs = {
        "age": mh.Regression(),
        "urgency": mh.Multiclass(LABELS, reads=mh.Hidden(prompt="fever {text} pain cough")),
    }
    model = trained(headed(saved("bert"), specs))
    text = " ".join(WORDS[:62])
    found = model.predict([text], long_text="mean")
    assert found.windows.tolist() == [2]
    assert model.predict([text]).truncated.tolist() == [True]
    np.testing.assert_allclose(found.logits["age"], model.predict([text], heads=["age"]).logits["age"], atol=1e-5)


METHODS = {
    "frozen": (mh.Frozen(l2=0.1), [mh.Hidden(pool="mean"), mh.Lexical()]),
    "fork": (mh.Fork(top=1, epochs=1), mh.Hidden()),
    "lora": (mh.LoRA(epochs=1), mh.Hidden()),
}


@pytest.mark.parametrize("method", METHODS)
def test_trained_heads_read_windows_through_their_branches(saved: Saved, method: str, tmp_path: Path) -> None:
    how, reads = METHODS[method]
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(LABELS, reads=reads))
    mh.train(model, RECORDS, text="text", method=how, eval_fraction=0)
    table = [{"text": text, "urgency": LABELS[row % 3]} for row, text in enumerate([*MIXED[:3], LONG])]
    found = model.predict([LONG], max_length=18, long_text="mean")
    windows = model.predict(window_texts())
    np.testing.assert_allclose(found.scores["urgency"][0], windows.scores["urgency"].mean(axis=0), atol=1e-5)
    report = mh.evaluate(model, table, text="text", max_length=18, long_text="mean")
    answers = model.predict([row["text"] for row in table], max_length=18, long_text="mean")
    right = [answers[row]["urgency"].label == table[row]["urgency"] for row in range(4)]
    assert report.metrics["urgency"]["accuracy"] == pytest.approx(np.mean(right))
    assert any("read in windows, by long_text='mean': 1 text" in note for note in report.notes)
    kept = [model.predict([LONG], max_length=18, long_text="mean", cache=tmp_path) for _ in range(2)]
    assert np.array_equal(kept[0].logits["urgency"], kept[1].logits["urgency"])


def test_streams_split_like_lists(saved: Saved) -> None:
    model = trained(headed(saved("bert"), {"urgency": mh.Multiclass(LABELS), "found": mh.Tokens(["symptom"])}))
    predictor = mh.Predictor(model, long_text="mean", max_length=18)
    whole = predictor(MIXED)

    def texts() -> Iterator[str]:
        yield from MIXED

    streamed = list(predictor.stream(texts()))
    assert [row["urgency"] for row in streamed] == [row["urgency"] for row in whole]
    assert [row["found"].spans for row in streamed] == [row["found"].spans for row in whole]
    assert whole[4:].split.tolist() == [True, False, False]


def test_training_reads_the_beginning_and_says_so(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(LABELS, reads=mh.Hidden()))
    table = [*RECORDS, {"text": LONG, "urgency": LABELS[0]}]
    with pytest.raises(mh.errors.InputError, match="long_text must be 'truncate' or 'error' in training, got 'mean'"):
        mh.train(model, table, text="text", long_text="mean")
    mh.train(model, table, text="text", eval_fraction=0, max_length=18)
    cut = sum(len(str(row["text"]).split()) > 16 for row in table)
    assert model.heads["urgency"].summary["truncated_texts"] == cut == 3
    assert model.heads["urgency"].summary["max_length"] == 18


def test_features_of_every_token_of_windows_are_an_error(saved: Saved) -> None:
    model = trained(headed(saved("bert"), {"urgency": mh.Multiclass(LABELS)}))
    predictor = mh.Predictor(model, long_text="mean", max_length=18)
    tap = mh.Hidden(pool="attention")
    assert len(predictor(["burn"], features=[tap]).features[tap][0]) == 3
    with pytest.raises(mh.errors.InputError, match="features of every token, which 1 text in several windows"):
        predictor([LONG], features=[tap])


@pytest.mark.parametrize("pair", [("burn", LONG), (LONG, "burn")])
def test_the_longer_text_of_a_pair_is_read_in_windows(saved: Saved, pair: tuple[str, str]) -> None:
    model = trained(headed(saved("bert"), {"urgency": mh.Multiclass(LABELS)}))
    found = model.predict([pair], max_length=20, long_text="mean")  # 4 tokens besides the longer text
    windows = [tuple(part if text == LONG else text for text in pair) for part in window_texts()]
    expected = model.predict(windows).scores["urgency"].mean(axis=0)
    np.testing.assert_allclose(found.scores["urgency"][0], expected, atol=1e-5)
    assert found.windows.tolist() == [len(STARTS)]
