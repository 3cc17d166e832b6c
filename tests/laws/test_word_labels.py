"""Token heads: what they read, their loss, their layout, what the cache keeps of words, and their metrics.

L1, L2, L13, L18 to L20 hold for them through the tables of the other files; here is what only words have.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

import manyheads as mh
from manyheads.evaluation.kinds.tokens import entity_counts, entity_metrics
from manyheads.evaluation.row_sums import RowSums
from manyheads.features.cache import open_cache
from manyheads.heads import Ragged
from manyheads.heads.cells.entities import bio_tags, entities
from tests.families import BY_NAME, FAMILIES, HIDDEN, TEXTS, Family, tokenizer_for
from tests.laws.oracle import (
    RECORDS,
    SIDES,
    add_heads,
    headed,
    over,
    padded,
    plain_model,
    plain_states,
    probed,
    rows_of,
    rows_read,
    tags_of,
)

Saved = Callable[[str], Path]
TOLERANCE = 1e-5
WIDE = list(range(HIDDEN))
PROBES = {
    "first": mh.Tokens(WIDE, scheme="plain"),
    "mean": mh.Tokens(WIDE, scheme="plain", subword="mean", reads=mh.Hidden(layer=1)),
    "two": mh.Tokens(list(range(2 * HIDDEN)), scheme="plain", reads=[mh.Hidden(), mh.Hidden(layer=-2)]),
    "window": mh.Tokens(list(range(5 * HIDDEN)), scheme="plain", window=2, reads=mh.Hidden(layer=-2)),
}
BY_HAND: dict[str, Callable[[Tensor], Tensor]] = {
    "first": lambda states: states[0],
    "mean": lambda states: states.mean(0),
}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def words_in(row: Tensor) -> list[list[int]]:
    """Cut a row's tokens into words of one, two and three tokens, all but the last of them."""
    cuts, start, size = [], 0, 1
    while start < len(row) - 1:
        cuts.append(list(range(start, min(start + size, len(row) - 1))))
        start, size = start + size, size % 3 + 1
    return cuts


def word_ids_of(row: Tensor) -> Tensor:
    ids = torch.full((len(row),), -1)
    for number, places in enumerate(words_in(row)):
        ids[places] = number
    return ids


def hand_read(family: Family, folder: Path, row: Tensor, number: int) -> dict[str, Tensor]:
    """Return what each probe should read of one word, from plain transformers' states of the row alone."""
    states, words = plain_states(plain_model(family, folder), row), words_in(row)
    places = words[number]
    near = [number, number - 1, number + 1, number - 2, number + 2]
    beyond = torch.zeros(HIDDEN)
    return {
        "window": torch.cat([states[-2][words[each][0]] if 0 <= each < len(words) else beyond for each in near]),
        "first": states[-1][places][0],
        "mean": states[1][places].mean(dim=0),
        "two": torch.cat([states[-1][places][0], states[-2][places][0]]),
    }


# --- L10, L6: what is read, wherever padding stands ---


@pytest.mark.parametrize("side", SIDES)
@over("L10", FAMILIES)
def test_words_are_read_as_by_hand(family: Family, side: str, saved: Saved) -> None:
    folder, rows = saved(family.name), rows_of(family)[:5]
    model = probed(folder, PROBES)
    word_ids = padded([word_ids_of(row) + 1 for row in rows], side)["input_ids"] - 1
    with torch.no_grad():
        logits = model(**padded(rows, side), word_ids=word_ids).logits
    assert logits["first"].shape == (5, max(len(words_in(row)) for row in rows), HIDDEN)
    for index, row in enumerate(rows):
        for number in range(len(words_in(row))):
            for name, expected in hand_read(family, folder, row, number).items():
                close(logits[name][index, number], expected)


@pytest.mark.parametrize("side", SIDES)
@over("L6", FAMILIES)
def test_without_word_ids_every_token_is_a_word_in_the_callers_layout(family: Family, side: str, saved: Saved) -> None:
    folder, rows = saved(family.name), rows_of(family)[:5]
    model = probed(folder, PROBES)
    batch = padded(rows, side)
    with torch.no_grad():
        logits = model(**batch).logits
    assert logits["first"].shape == (*batch["input_ids"].shape, HIDDEN)
    for index, row in enumerate(rows):
        states, real = plain_states(plain_model(family, folder), row), batch["attention_mask"][index].bool()
        close(logits["first"][index][real], states[-1])
        close(logits["mean"][index][real], states[1])


@over("L10", FAMILIES)
def test_predicted_words_are_those_of_the_text(family: Family, saved: Saved) -> None:
    """The tokenizer's own offsets, read by hand: the last word is there, and special tokens are no words."""
    folder, text = saved(family.name), "the  patient,has chest,pain today"
    model = probed(folder, {"first": PROBES["first"], "mean": mh.Tokens(WIDE, scheme="plain", subword="mean")})
    encoded = model.tokenizer(text, return_offsets_mapping=True)
    states = plain_states(plain_model(family, folder), torch.tensor(encoded["input_ids"]))[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mh.errors.UntrainedHeadWarning)
        found = model.predict([text])
    wanted = ["the", "patient", ",", "has", "chest", ",", "pain", "today"]
    spans = found[0]["first"].spans
    for name in ("first", "mean"):
        for word, logits in zip(spans, found.logits[name][0], strict=True):
            mine = [
                place
                for place, (start, end) in enumerate(encoded["offset_mapping"])
                if max(start, word.start) < min(end, word.end)
                and not any(start < other.end <= word.start for other in spans)
            ]
            close(torch.from_numpy(logits), BY_HAND[name](states[mine]))
    texts = [text[span.start : span.end] for span in spans]
    assert texts[-1] == "today"
    assert texts == wanted or family.specials.byte_pairs
    assert [word for word in wanted if word in texts] == texts


# --- transformers' own token classifiers ---


@pytest.mark.parametrize("side", SIDES)
def test_logits_and_loss_are_those_of_a_stock_token_classifier(side: str) -> None:
    family = BY_NAME["bert"]
    stock = family.build(model_class="BertForTokenClassification", num_labels=3)
    model = mh.HeadedModel.wrap(stock.bert, tokenizer_for(family))
    head = model.add_head("pos", mh.Tokens(["noun", "verb", "other"], scheme="plain"))
    head.output.load_state_dict(stock.classifier.state_dict())
    batch = padded(rows_of(family)[:5], side)
    labels = torch.where(batch["attention_mask"].bool(), batch["input_ids"] % 3, -100)
    labels[1] = -100
    labels[:, 3] = -100
    positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    expected = stock(**batch, position_ids=positions, labels=labels)
    found = model(**batch, labels={"pos": labels})
    real = batch["attention_mask"].bool()
    close(found.logits["pos"][real], expected.logits[real])
    close(found.loss, expected.loss)
    assert found.counts["pos"] == int((labels != -100).sum())
    found.loss.backward()
    mine = [parameter.grad.clone() for parameter in stock.bert.parameters() if parameter.grad is not None]
    stock.zero_grad()
    expected.loss.backward()
    theirs = [parameter.grad for parameter in stock.bert.parameters() if parameter.grad is not None]
    for one, other in zip(mine, theirs, strict=True):
        close(one, other)


# --- L12, L14: the loss ---


def words_of(texts: list[str]) -> dict[str, Tensor]:
    """Return a right-padded batch of BERT's with word ids of two tokens each."""
    rows = [torch.tensor(tokenizer_for(BY_NAME["bert"])(text)["input_ids"]) for text in texts]
    ids = [torch.arange(len(row)) // 2 for row in rows]
    return {**padded(rows), "word_ids": padded([row + 1 for row in ids])["input_ids"] - 1}


def trained_words(**settings: object) -> tuple[mh.HeadedModel, dict[str, Tensor], Tensor]:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    add_heads(model, {"found": mh.Tokens(["symptom", "place"], **settings)})
    batch = words_of(TEXTS[:6])
    targets = torch.randint(0, 5, (6, int(batch["word_ids"].max()) + 1), generator=torch.Generator().manual_seed(0))
    targets[torch.rand(targets.shape, generator=torch.Generator().manual_seed(1)) < 0.3] = -100
    targets[2] = -100
    return model, batch, targets


@pytest.mark.parametrize("subword", ["first", "mean"])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_l12_l14_the_loss_is_a_mean_over_labelled_words(subword: str, hidden: tuple[int, ...]) -> None:
    weights = torch.tensor([0.5, 1.0, 2.0, 1.0, 3.0])
    settings = {"class_weights": weights.tolist(), "label_smoothing": 0.1, "subword": subword, "hidden": hidden}
    model, batch, targets = trained_words(**settings)
    with_words = Tensor.new_zeros(targets, targets.shape, dtype=torch.bool)
    for row, ids in enumerate(batch["word_ids"]):
        with_words[row, ids[ids >= 0].unique()] = True
    present = with_words & (targets != -100)
    assert int(present.sum()) < int((targets != -100).sum())

    out = model(**batch, labels={"found": targets})
    logits = model(**batch).logits["found"][present]
    by_hand = F.cross_entropy(logits, targets[present], weight=weights, label_smoothing=0.1)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)
    assert out.counts["found"] == int(present.sum())
    out.loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)

    kept = torch.tensor([0, 1, 3, 4, 5])
    fewer = {name: tensor[kept] for name, tensor in batch.items()}
    again = model(**fewer, labels={"found": targets[kept]})
    torch.testing.assert_close(again.loss, out.loss, atol=1e-6, rtol=1e-6)


def test_l14_a_row_without_tokens_and_a_head_without_labels() -> None:
    model, batch, targets = trained_words()
    batch["attention_mask"][4] = 0
    out = model(**batch, labels={"found": targets})
    out.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    assert out.logits["found"].isfinite().all()
    model.zero_grad(set_to_none=True)
    none = model(**batch, labels={"found": torch.full_like(targets, -100)})
    none.loss.backward()
    assert none.loss.item() == 0.0
    assert none.counts["found"] == 0
    assert all(parameter.grad is None for parameter in model.heads["found"].parameters())


def test_a_mean_of_words_is_stepped_to_the_very_gradient_of_its_tokens() -> None:
    """What scatters sums must also gather gradients: against a dense average over tokens."""
    model, batch, targets = trained_words(subword="mean")
    states = model.backbone.base_model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    one_hot = F.one_hot(batch["word_ids"].clamp(min=0)) * (batch["word_ids"] >= 0).unsqueeze(-1)
    means = torch.einsum("rtw,rth->rwh", one_hot.float(), states) / one_hot.sum(dim=1).clamp(min=1).unsqueeze(-1)
    has_token = one_hot.sum(dim=1) > 0
    expected = F.cross_entropy(
        model.heads["found"].output(means)[has_token], targets.masked_fill(~has_token, -100)[has_token]
    )
    found = model(**batch, labels={"found": targets}).loss
    table = model.backbone.get_input_embeddings().weight
    close(torch.autograd.grad(found, table)[0], torch.autograd.grad(expected, table)[0])


# --- L23, L24: one pass for words and texts, and what is kept of them ---


def shared(folder: Path) -> mh.HeadedModel:
    return headed(
        folder,
        {
            "urgency": mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden(pool="mean")),
            "found": mh.Tokens(["symptom", "place"]),
            "again": mh.Tokens(["symptom", "place"], column="found", subword="mean", hidden=[8]),
        },
    )


@pytest.mark.parametrize("family", ["bert", "gpt2", "qwen2"])
def test_l23_one_pass_serves_words_and_texts_and_later_heads(family: str, saved: Saved) -> None:
    model = shared(saved(family))
    with rows_read(model.backbone) as read:
        mh.train(model, RECORDS, "text", mh.Frozen(dtype="float32"), eval_fraction=0.2)
        once = sum(read)
        mh.train(model, RECORDS, "text", mh.Frozen(dtype="float32"), eval_fraction=0.2)
        assert sum(read) == once
        model.add_head("more", mh.Tokens(["place"], column="place"))
        spans = [{**record, "place": [tag if "place" in tag else "O" for tag in record["found"]]} for record in RECORDS]
        mh.train(model, spans, "text", mh.Frozen(dtype="float32"), heads=["more"], eval_fraction=0.2)
        assert sum(read) == once
    rows = len(TEXTS) + 3  # and the names of the labels of "urgency"
    assert rows <= once <= rows + 2  # and perhaps two rows to look at shapes


def test_l23_a_text_head_finds_what_was_kept_beside_words(saved: Saved) -> None:
    model = shared(saved("bert"))
    mh.train(model, RECORDS, "text", mh.Frozen(dtype="float32"), eval_fraction=0.2)
    with rows_read(model.backbone) as read:
        mh.train(model, RECORDS, "text", mh.Frozen(dtype="float32"), heads=["urgency"], eval_fraction=0.2)
    assert sum(read) == 0


def test_l24_other_words_of_the_same_text_never_meet_a_stale_entry(saved: Saved) -> None:
    """Given as other lists of words, the ids are the same, and only the words differ."""
    text = "severe chest pain since two hours"
    one = ["severe", "chest", "pain", "since", "two", "hours"]
    other = ["severe chest", "pain since", "two hours"]
    rows = [{"text": one, "found": tags_of(text)}, {"text": "burn today", "found": ["B-symptom", "O"]}] * 3
    for words in (one, other):
        table = [{"text": words, "found": ["O", "B-place", "I-place", "O", "O", "O"][: len(words)]}, *rows]
        model = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place"])})
        trained = mh.train(model, table, "text", mh.Frozen(dtype="float32", l2=0.1), eval_fraction=0)
        fresh = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place"])})
        mh.train(fresh, table, "text", mh.Frozen(cache=None, dtype="float32", l2=0.1), eval_fraction=0)
        assert trained.rows["found"]["train"] == 7
        assert torch.equal(model.heads["found"].output.weight, fresh.heads["found"].output.weight)
    assert open_cache("auto").entries()


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_l24_stored_words_are_those_of_a_forward(family: str, saved: Saved) -> None:
    model = shared(saved(family))
    mh.train(model, RECORDS, "text", mh.Frozen(dtype="float32"), eval_fraction=0.2)
    predicted = model.predict(TEXTS)
    for text, logits, words in zip(TEXTS, predicted.logits["found"], predicted.words, strict=True):
        encoded = model.tokenizer(text, return_offsets_mapping=True)
        ids = [[n for n, (s, e) in enumerate(words) if s < b and a < e][:1] for a, b in encoded["offset_mapping"]]
        word_ids = torch.tensor([[each[0] if each else -1 for each in ids]])
        with torch.no_grad():
            live = model(torch.tensor([encoded["input_ids"]]), word_ids=word_ids).logits["found"][0]
        close(torch.from_numpy(logits), live)


def test_a_frozen_word_head_is_the_penalised_solution_over_words(saved: Saved) -> None:
    """Against scikit-learn's LogisticRegression on the words' own vectors, with folds nowhere in it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    model = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place"])})
    result = mh.train(model, RECORDS, "text", mh.Frozen(dtype="float32", l2=0.01), eval_fraction=0)
    states = []
    for text in TEXTS:
        encoded = tokenizer_for(BY_NAME["bert"])(text)["input_ids"]
        states.append(plain_states(plain_model(BY_NAME["bert"], saved("bert")), torch.tensor(encoded))[-1][1:-1])
    vectors = torch.cat(states).numpy().astype(np.float64)
    names = list(bio_tags(["symptom", "place"]))
    targets = np.array([names.index(tag) for text in TEXTS for tag in tags_of(text)])
    both, targets = np.concatenate([vectors] * 2), np.concatenate([targets] * 2)
    scaler = StandardScaler().fit(both)
    solver = LogisticRegression(C=1 / (0.01 * len(both)), tol=1e-8, max_iter=5000).fit(scaler.transform(both), targets)
    expected = solver.predict_proba(scaler.transform(vectors))
    found = np.concatenate(list(model.predict(TEXTS).scores["found"]))
    np.testing.assert_allclose(found[:, solver.classes_], expected, atol=2e-4)
    held = result.out_of_fold["found"]
    assert len(held.rows) == len(held.logits) == len(targets)
    assert np.array_equal(np.bincount(held.rows), [len(tags_of(str(record["text"]))) for record in RECORDS])


# --- seqeval ---


def random_tags(draw: np.random.Generator, types: int) -> np.ndarray:
    return draw.integers(0, 2 * types + 1, size=draw.integers(1, 15))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_entity_scores_are_seqevals_on_random_tags() -> None:
    from seqeval import metrics

    names = np.array(bio_tags(["a", "b", "c"]))
    draw = np.random.default_rng(0)
    for _ in range(300):
        true = [random_tags(draw, 3) for _ in range(draw.integers(1, 6))]
        # Half of the tags are right, so that many entities are.
        reported = [np.where(draw.random(len(tags)) < 0.5, tags, draw.integers(0, 7, len(tags))) for tags in true]
        ours = entity_metrics(RowSums(entity_counts(Ragged.of(true), Ragged.of(reported), 3)).total())
        theirs = [names[tags].tolist() for tags in true], [names[tags].tolist() for tags in reported]
        for name in ("precision", "recall", "f1"):
            score = getattr(metrics, f"{name}_score")(*theirs, zero_division=0)
            assert ours[f"entity_{name}"] == pytest.approx([float(score)], abs=1e-12)


def test_entities_found_in_part_are_the_largest_matching_of_overlapping_ones() -> None:
    draw = np.random.default_rng(3)
    for _ in range(300):
        true, reported = draw.integers(0, 5, size=(2, 14))
        rows = [Ragged.of([tags]) for tags in (true, reported)]
        ours = entity_metrics(RowSums(entity_counts(*rows, 2)).total())["entity_overlap_f1"]
        own, others = (
            [(set(range(start, end)), kind) for start, end, kind in entities(tags)] for tags in (true, reported)
        )
        common = np.array([[kind == other and bool(words & those) for those, other in others] for words, kind in own])
        pairs = common[linear_sum_assignment(common, maximize=True)].sum() if common.size else 0
        count = len(own) + len(others)
        assert ours == pytest.approx([2 * pairs / count if count else 0.0])


def test_an_entity_found_in_part_counts_once() -> None:
    """Out of two predicted parts of one entity, one is right; another type at its place is not."""
    outside, begin, inside, other = 0, 1, 2, 3
    true = Ragged.of([np.array([begin, inside, inside, outside, other])])
    predicted = Ragged.of([np.array([begin, outside, begin, outside, begin])])
    found = entity_metrics(RowSums(entity_counts(true, predicted, 2)).total())
    assert found["entity_f1"] == [0.0]
    assert found["entity_overlap_f1"] == pytest.approx([2 * 1 / (2 + 3)])


def test_decoded_spans_are_seqevals_entities() -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    spec, draw = mh.Tokens(["a", "b", "c"]), np.random.default_rng(1)
    names = np.array(spec.classes)
    for _ in range(300):
        tags = random_tags(draw, 3)
        for word in np.flatnonzero((tags > 0) & (tags % 2 == 0)):  # an I that cannot stand becomes a B
            if word == 0 or tags[word - 1] not in (tags[word] - 1, tags[word]):
                tags[word] -= 1
        scores = np.full((len(tags), 7), 0.05)
        scores[np.arange(len(tags)), tags] = draw.uniform(0.5, 0.7, len(tags))
        found = spec.prediction(np.log(scores), scores, mh.Decision()).spans
        expected = get_entities(names[tags].tolist())
        assert [(span.label, span.start, span.end - 1) for span in found] == expected
        for span in found:
            assert span.score == pytest.approx(scores[span.start : span.end].max(axis=1).mean())


def test_the_metrics_of_a_trained_head_are_seqevals_on_its_own_predictions(saved: Saved) -> None:
    from seqeval import metrics

    model = headed(saved("bert"), {"found": mh.Tokens(["symptom", "place"])})
    held_out = [{"text": text, "found": tags_of(text)} for text in [*TEXTS[:5], "pain in chest today", "stable fever"]]
    result = mh.train(model, RECORDS[:12], "text", mh.Frozen(dtype="float32", l2=0.1), eval_data=held_out)
    names = np.array(model.heads["found"].spec.classes)
    reported = [
        names[scores.argmax(axis=1)].tolist()
        for scores in model.predict([row["text"] for row in held_out]).scores["found"]
    ]
    true = [row["found"] for row in held_out]
    assert 0 < result.metrics["found"]["entity_f1"] < 1
    assert result.metrics["found"]["entity_f1"] == pytest.approx(metrics.f1_score(true, reported))
    assert result.metrics["found"]["accuracy"] == pytest.approx(metrics.accuracy_score(true, reported))


# --- stepping ---


@pytest.mark.parametrize("method", [mh.Full, mh.Fork, mh.LoRA])
def test_every_method_that_steps_trains_words_and_texts_together(method: type, saved: Saved, tmp_path: Path) -> None:
    model = shared(saved("bert"))
    result = mh.train(
        model, RECORDS * 2, "text", method(epochs=2, lr=1e-3, batch_rows=8, best_by="mean"), eval_fraction=0.2
    )
    records = result.history["found"]
    assert {"entity_f1", "accuracy", "epoch"} <= set(records[-1])
    predicted = model.predict(TEXTS)
    model.save_pretrained(tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out").predict(TEXTS)
    for name in ("found", "again"):
        for one, other in zip(predicted.logits[name], again.logits[name], strict=True):
            close(torch.from_numpy(one), torch.from_numpy(other))
        assert [spans[name].spans for spans in predicted] == [spans[name].spans for spans in again]


@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
def test_a_trainer_evaluates_words_with_compute_metrics(saved: Saved, tmp_path: Path) -> None:
    model = shared(saved("bert"))
    rows = []
    for record in RECORDS[:8]:
        encoded = model.tokenizer(str(record["text"]))
        ids = [-1 if word is None else word for word in encoded.word_ids()]
        tags = [model.heads["found"].spec.classes.index(tag) for tag in record["found"]]
        rows.append({"input_ids": encoded["input_ids"], "word_ids": ids, "labels": {"found": tags, "urgency": 0}})
    del rows[3]["labels"]["found"]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_eval_batch_size=3, report_to=[], use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    found = mh.Trainer(model, arguments, eval_dataset=rows).predict(rows)
    kept = found.label_ids["found"] != -100
    assert kept.sum() == sum(len(row["labels"].get("found", [])) for row in rows)
    direct = model.predict([str(record["text"]) for record in RECORDS[:8]]).logits["found"]
    by_row = [direct[row] for row in range(8) if row != 3]
    np.testing.assert_allclose(found.predictions["found"][kept], np.concatenate(by_row), atol=1e-5)


def test_l22_a_run_that_was_interrupted_goes_on_with_its_best_epoch(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(checkpoints: Path | None) -> tuple[mh.HeadedModel, mh.TrainResult]:
        torch.manual_seed(0)
        model = shared(saved("bert"))
        method = mh.Full(epochs=3, lr=1e-3, batch_rows=8, best_by="found", checkpoints=checkpoints, start="random")
        return model, mh.train(model, RECORDS, "text", method, eval_fraction=0.3)

    plain = mh.Trainer.training_step

    def interrupted(self: mh.Trainer, *inputs: object) -> Tensor:
        if self.state.epoch is not None and self.state.epoch >= 2:
            raise KeyboardInterrupt
        return plain(self, *inputs)

    with monkeypatch.context() as patch:
        patch.setattr(mh.Trainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "kept")
    assert any((tmp_path / "kept").glob("checkpoint-*/best.safetensors"))
    (again, resumed), (whole, straight) = run(tmp_path / "kept"), run(None)
    assert any("resumed from" in note for note in resumed.notes)
    assert resumed.metrics["found"] == straight.metrics["found"]
    assert torch.equal(again.heads["found"].output.weight, whole.heads["found"].output.weight)
    assert torch.equal(again.heads["again"].output.weight, whole.heads["again"].output.weight)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_words_beside_prompts_and_bags_are_read_as_alone(family: str, saved: Saved) -> None:
    """Tokens of a prompt are of no word, and those of words reach no other head."""
    others = {
        "asked": mh.Multiclass(
            ["routine", "urgent", "emergency"], column="urgency", reads=mh.Hidden(prompt="{text} so :")
        ),
        "bag": mh.Multiclass(["yes", "no"], column="sent", reads=[mh.Lexical(), mh.Hidden()]),
    }
    words = {"found": mh.Tokens(["symptom", "place"], subword="mean", reads=mh.Hidden(-2))}
    models = [headed(saved(family), specs) for specs in (others, words, {**others, **words})]
    for model in models:
        mh.train(model, RECORDS, "text", mh.Frozen(cache=None, dtype="float32", l2=0.01), eval_fraction=0)
    without, alone, both = (model.predict(TEXTS) for model in models)
    for name in others:
        np.testing.assert_allclose(both.logits[name], without.logits[name], atol=1e-4)
    for one, other in zip(both.logits["found"], alone.logits["found"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
