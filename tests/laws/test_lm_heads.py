"""What heads take from the LM head: its logits (L10), its rows as a start, its next token without any training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertModel

import manyheads as mh
from manyheads.core.lm_init import label_rows
from manyheads.data.texts.prompt_tokens import TextPromptTokenizer
from tests.families import BY_NAME, CAUSAL, ENCODERS, FAMILIES, TEXTS, Family, tokenizer_for
from tests.laws.oracle import (
    RECORDS,
    add_heads,
    decoder_inputs,
    headed,
    open_probes,
    over,
    padded,
    plain_model,
    rows_of,
    rows_read,
)
from tests.laws.test_prompts import AFTER, by_hand

LABELS = ["routine", "urgent", "stable"]
# States pass a transform before they meet the rows: logits may be read, rows start nothing.
TRANSFORMED = {"bert", "roberta", "xlm_roberta", "albert", "deberta_v2", "distilbert", "electra", "modernbert"}
READING = tuple(family for family in FAMILIES if not family.encoder_decoder)
PLAIN = tuple(family for family in READING if family.name not in TRANSFORMED)


def logits_model(folder: Path, vocabulary: int, **taps: mh.LMLogits) -> mh.HeadedModel:
    """Load a folder with heads whose logits are the log-probabilities that they read."""
    model = mh.HeadedModel.from_pretrained(folder)
    add_heads(
        model, {name: mh.Multiclass(list(range(tap.top_k or vocabulary)), reads=tap) for name, tap in taps.items()}
    )
    open_probes(model)
    for head in model.heads.values():
        head.trained = True
    return model.eval()


def vocabulary_of(folder: Path) -> int:
    return int(mh.HeadedModel.from_pretrained(folder).backbone.get_input_embeddings().num_embeddings)


@over("L10", READING)
def test_l10_lm_logits_are_the_models_own(saved: Callable[[str], Path], family: Family) -> None:
    """At one position, the LM head's output is what the model shows there."""
    folder, pool = saved(family.name), "last" if family.causal else "cls"
    model = logits_model(folder, vocabulary_of(folder), lm_output=mh.LMLogits(pool=pool))
    plain = plain_model(family, folder)
    for side in ("right", "left"):
        with torch.no_grad():
            found = model(**padded(rows_of(family), side)).logits["lm_output"]
            for row, ids in enumerate(rows_of(family)):
                wanted = plain(input_ids=ids[None]).logits[0, -1 if family.causal else 0]
                torch.testing.assert_close(found[row], wanted.log_softmax(-1), atol=1e-4, rtol=1e-4)


@over("L10", (BY_NAME["gpt2"], BY_NAME["bert"]))
def test_l10_lm_logits_pool_first(saved: Callable[[str], Path], family: Family) -> None:
    """The mean state meets the LM head, by hand: the output layer's own modules on the mean of the states."""
    folder = saved(family.name)
    model = logits_model(folder, vocabulary_of(folder), lm_output=mh.LMLogits(pool="mean"))
    plain = plain_model(family, folder)
    head = plain.lm_head if family.causal else plain.cls
    shapes: list[tuple[int, ...]] = []
    with torch.no_grad():
        model(**padded(rows_of(family)))  # once, so that everything about the LM head is found out
        handle = model.backbone.get_output_embeddings().register_forward_hook(
            lambda _, __, output: shapes.append(tuple(output.shape))
        )
        found = model(**padded(rows_of(family))).logits["lm_output"]
        handle.remove()
        for row, ids in enumerate(rows_of(family)):
            mean = plain.base_model(input_ids=ids[None]).last_hidden_state.mean(dim=1)
            torch.testing.assert_close(found[row], head(mean)[0].log_softmax(-1), atol=1e-4, rtol=1e-4)
    # Logits of every token of a text never exist.
    assert all(len(shape) == 2 or shape[1] == 1 for shape in shapes)


def test_l10_lm_logits_with_a_prompt(saved: Callable[[str], Path]) -> None:
    family, folder = BY_NAME["llama"], saved("llama")
    model = logits_model(folder, vocabulary_of(folder), lm_output=mh.LMLogits(prompt=AFTER))
    found = model.predict(TEXTS).logits["lm_output"]
    with torch.no_grad():
        for row, text in enumerate(TEXTS):
            wanted = plain_model(family, folder)(input_ids=by_hand(family, AFTER, text)[None]).logits[0, -1]
            np.testing.assert_allclose(found[row], wanted.log_softmax(-1).numpy(), atol=1e-4)


def test_the_lm_head_alone_never_moves_with_a_head(saved: Callable[[str], Path]) -> None:
    """A detached head sends no gradient into the LM head either."""
    model = headed(saved("gpt2"), {"a": mh.Multiclass(LABELS, reads=mh.LMLogits(), detach=True)})
    model(**padded(rows_of(BY_NAME["gpt2"])), labels={"a": torch.zeros(len(TEXTS), dtype=torch.int64)}).loss.backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert model.heads["a"].output.weight.grad is not None


def test_a_copy_of_a_head_holds_no_copy_of_the_backbone(saved: Callable[[str], Path]) -> None:
    model = headed(saved("gpt2"), {"a": mh.Multiclass(LABELS, reads=mh.LMLogits())})
    memo: dict[int, Any] = {}
    copy.deepcopy(model.heads["a"], memo)
    assert not any(id(parameter) in memo for parameter in model.backbone.parameters())


def test_l23_logits_of_states_that_were_read_need_no_pass(saved: Callable[[str], Path], tmp_path: Path) -> None:
    """Nor does another number of tokens."""
    method = mh.Frozen(cache=tmp_path / "cache", label_names=False)
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden()))
    mh.train(model, RECORDS, text="text", method=method)
    model.add_head("asked", mh.Multiclass(["yes", "no"], column="sent", reads=mh.LMLogits(top_k=4)))
    model.add_head("more", mh.Multiclass(["yes", "no"], column="sent", reads=mh.LMLogits(top_k=9)))
    model(**padded(rows_of(BY_NAME["gpt2"])))  # once, so that everything about the LM head is found out
    with rows_read(model.backbone) as rows:
        mh.train(model, RECORDS, text="text", method=method, heads=["asked", "more"])
    assert rows == []


def test_l24_top_k_trains_cached_and_predicts_live(saved: Callable[[str], Path], tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.LMLogits(top_k=7)))
    model.add_head("age", mh.Regression(reads=[mh.LMLogits(top_k=5, pool="mean"), mh.Lexical()]))
    model.add_head("where", mh.Multiclass(["chest", "arm"], reads=mh.LMLogits(top_k=6), hidden=[4]))
    mh.train(model, RECORDS, text="text", out=tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    ids = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in TEXTS]
    with torch.no_grad():
        live = again(**padded(ids)).logits
    for name in ("urgency", "age", "where"):
        np.testing.assert_allclose(live[name].numpy(), model.predict(TEXTS).logits[name], atol=2e-4, rtol=1e-4)
        assert np.array_equal(again.predict(TEXTS).logits[name], model.predict(TEXTS).logits[name])


def test_the_most_telling_tokens_are_kept(saved: Callable[[str], Path]) -> None:
    """Against the share of variance that labels account for, token by token in numpy."""
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.LMLogits(top_k=9)))
    mh.train(model, RECORDS, text="text", eval_fraction=0)
    plain = plain_model(BY_NAME["gpt2"], saved("gpt2"))
    with torch.no_grad():
        reported = np.stack(
            [
                plain(**model.tokenizer(record["text"], return_tensors="pt")).logits[0, -1].double().log_softmax(-1)
                for record in RECORDS
            ]
        )
    labels = np.array([["routine", "urgent", "emergency"].index(str(record["urgency"])) for record in RECORDS])
    ones = (labels[:, None] == np.arange(3)) - np.bincount(labels) / len(labels)
    worth = ((ones.T @ reported) ** 2).sum(axis=0) / reported.var(axis=0)
    kept = model.heads["urgency"].readers[0].ids.numpy()
    assert set(kept) == set(np.argsort(-worth)[:9])
    assert (np.diff(kept) > 0).all()


def test_a_vocabulary_too_wide_for_its_rows_is_rejected(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manyheads.training.solving.design_of_head.MAX_DENSE_VALUES", 100)
    monkeypatch.setattr("manyheads.training.solving.design_of_head._MAX_STREAMED_WIDTH", 50)
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.LMLogits()))
    with pytest.raises(mh.errors.HeadError, match=r"top_k=1024"):
        mh.train(model, RECORDS, text="text")


# --- rows of the LM head ------------------------------------------------------------------------------


def test_signs_are_part_of_words() -> None:
    words = TextPromptTokenizer(lambda text, add_special_tokens=True: {"input_ids": list(map(ord, text))}, None)
    assert len({str(words.word_pieces(word)) for word in ("-1", "1", "C", "C++", "C#")}) == 5
    assert words.word_pieces("pain, (fever)") == [*words.word_pieces("pain"), *words.word_pieces("fever")]


@pytest.mark.parametrize("method", [mh.Full(epochs=1, start="random"), mh.Fork(top=1, epochs=1, start="random")])
def test_tokens_are_chosen_whatever_the_start(saved: Callable[[str], Path], method: Any) -> None:
    levels = ["routine", "urgent", "emergency"]
    kept = []
    for way in (mh.Frozen(), method):
        model = mh.HeadedModel.from_pretrained(saved("gpt2"))
        model.add_head("urgency", mh.Multiclass(levels, reads=mh.LMLogits(top_k=6)))
        mh.train(model, RECORDS, text="text", method=way, eval_fraction=0)
        kept.append(model.heads["urgency"].readers[0].ids)
    assert torch.equal(*kept)
    assert not torch.equal(kept[0], torch.arange(6))


def test_label_rows_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [4.0, 0.0]])
    # First label: a word of the pieces 0 and 1, the second of which counts a quarter. Second: the words 2 and 3. Third:
    # token 2, which it shares with the second label, so that it counts half in both.
    found = label_rows(rows, [[[0, 1]], [[2], [3]], [[2]]])
    first = (rows[0] + 0.25 * rows[1]) / 1.25
    second = (0.5 * rows[2] + rows[3]) / 1.5
    wanted = torch.stack([first, second, rows[2]])
    torch.testing.assert_close(found, wanted - wanted.mean(dim=0))


@over("L10", PLAIN)
def test_a_head_starts_as_the_lm_head(saved: Callable[[str], Path], family: Family) -> None:
    """One token per label: the untrained head's logits are the LM's own for those tokens, but for a common shift."""
    model = mh.HeadedModel.from_pretrained(saved(family.name))
    # A byte-pair tokenizer may cut words; pieces after the first are left to the test by hand.
    words = _single_tokens(family)
    model.add_head("urgency", mh.Multiclass([0, 1, 2], init="lm_head", label_words=dict(enumerate(words))))
    tokens = [_token(family, word) for word in words]
    plain = plain_model(family, saved(family.name))
    bias = getattr(plain.get_output_embeddings(), "bias", None)
    with torch.no_grad():
        found = model(**padded(rows_of(family), "left")).logits["urgency"]
        for row, ids in enumerate(rows_of(family)):
            wanted = plain(input_ids=ids[None]).logits[0, -1, tokens]
            wanted = wanted if bias is None else wanted - bias[tokens]
            torch.testing.assert_close(found[row], wanted - wanted.mean(), atol=1e-4, rtol=1e-4)


def _single_tokens(family: Family) -> list[str]:
    tokenizer = tokenizer_for(family)
    lengths = {
        word: len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"])
        for word in ["pain", "fever", "the", "and", "old", "cough"]
    }
    return [word for word, length in lengths.items() if length == 1][:3]


def _token(family: Family, word: str) -> int:
    return int(tokenizer_for(family)(f" {word}", add_special_tokens=False)["input_ids"][0])


@over("L10", CAUSAL)
def test_zero_shot_is_the_next_token_less_that_of_an_empty_text(saved: Callable[[str], Path], family: Family) -> None:
    model = mh.HeadedModel.from_pretrained(saved(family.name))
    words = _single_tokens(family)
    spec = mh.Multiclass(words, reads=mh.Hidden(prompt=AFTER), zero_shot=True)
    model.add_head("urgency", spec)
    tokens = [_token(family, word) for word in words]
    plain = plain_model(family, saved(family.name))

    def shows(text: str) -> Tensor:
        with torch.no_grad():
            return plain(input_ids=by_hand(family, AFTER, text)[None]).logits[0, -1, tokens]

    tokenizer = tokenizer_for(family)
    opening = [] if family.special_id("bos") is None else tokenizer("")["input_ids"]
    after = tokenizer(AFTER.split("{text}")[1], add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        empty = plain(input_ids=torch.tensor([[*opening, *after]])).logits[0, -1, tokens]
    found = model.predict(TEXTS)  # without a warning: it needs no training
    for row, text in enumerate(TEXTS):
        wanted = shows(text) - empty
        np.testing.assert_allclose(found.logits["urgency"][row], wanted - wanted.mean(), atol=2e-4)
        assert found[row]["urgency"].label == words[int(wanted.argmax())]
    assert not model.heads["urgency"].trained


def test_a_zero_shot_head_is_saved_loaded_and_trained_on(saved: Callable[[str], Path], tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    labels = ["routine", "urgent", "emergency"]
    words = {"routine": "mild", "urgent": ["severe", "sudden pain"]}
    model.add_head("urgency", mh.Multiclass(labels, reads=mh.Hidden(prompt=AFTER), zero_shot=True, label_words=words))
    model.save_pretrained(tmp_path / "zero")
    again = mh.HeadedModel.from_pretrained(tmp_path / "zero")
    assert again.heads["urgency"].spec == model.heads["urgency"].spec
    assert np.array_equal(again.predict(TEXTS).logits["urgency"], model.predict(TEXTS).logits["urgency"])
    result = mh.train(again, RECORDS, text="text")
    assert again.heads["urgency"].trained
    assert {"l2", "prior"} <= set(result.chosen["urgency"])


def test_a_zero_shot_head_may_read_another_heads_output(saved: Callable[[str], Path]) -> None:
    """It starts from the tap that the rows fit; of the other head it knows nothing yet."""
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("sent", mh.Multiclass(["yes", "no"])).trained = True
    model.add_head("alone", mh.Multiclass(LABELS, zero_shot=True))
    model.add_head("urgency", mh.Multiclass(LABELS, reads=[mh.Output("sent"), mh.Hidden()], zero_shot=True))
    found = model.predict(TEXTS, heads=["alone", "urgency"]).logits
    np.testing.assert_allclose(found["alone"], found["urgency"], atol=1e-5)


# --- the prior ----------------------------------------------------------------------------------------


def trained(folder: Path, l2: float, **spec: Any) -> tuple[mh.HeadedModel, Any]:
    model = mh.HeadedModel.from_pretrained(folder)
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden(), **spec))
    return model, mh.train(model, RECORDS, text="text", eval_fraction=0, method=mh.Frozen(l2=l2))


def test_a_strong_penalty_leaves_the_start_and_not_zero(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manyheads.training.solving.linear_fit.PRIOR_SCALES", (0.6,))
    folder = saved("gpt2")
    start = mh.HeadedModel.from_pretrained(folder)
    start.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden(), init="lm_head"))
    rows = start.heads["urgency"].output.weight
    model, _ = trained(folder, 1e6, init="lm_head")
    found = model.heads["urgency"].output.weight
    with torch.no_grad():
        assert float(torch.nn.functional.cosine_similarity(found.flatten(), rows.flatten(), dim=0)) > 0.9999
        plain, _ = trained(folder, 1e6)
        assert float(plain.heads["urgency"].output.weight.abs().max()) < 1e-3


def test_the_penalty_pulls_towards_the_start(saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torch's own L-BFGS on the objective as it is written: mean loss and squared distance from the start."""
    monkeypatch.setattr("manyheads.training.solving.linear_fit.PRIOR_SCALES", (0.6,))
    model, _ = trained(saved("gpt2"), 0.05, init="lm_head")
    start = mh.HeadedModel.from_pretrained(saved("gpt2"))
    start.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden(), init="lm_head"))
    ids = [torch.tensor(model.tokenizer(str(record["text"]))["input_ids"]) for record in RECORDS]
    plain = plain_model(BY_NAME["gpt2"], saved("gpt2"))
    with torch.no_grad():
        states = torch.stack([plain.transformer(row[None]).last_hidden_state[0, -1] for row in ids]).double()
    labels = torch.tensor([["routine", "urgent", "emergency"].index(str(record["urgency"])) for record in RECORDS])
    deviation = states.std(dim=0, correction=0)
    rows = start.heads["urgency"].output.weight.detach().double()
    reported = states @ rows.T
    prior = rows * 0.6 / float((reported - reported.mean(dim=0)).std())
    weight = torch.zeros(3, states.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=2000, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(states @ weight.T + bias, labels)
        loss = loss + 0.05 / 2 * ((weight - prior) * deviation).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        wanted = torch.softmax(states @ weight.T + bias, dim=-1).numpy()
    np.testing.assert_allclose(
        model.predict([str(record["text"]) for record in RECORDS]).scores["urgency"], wanted, atol=2e-4
    )


def test_a_start_that_reports_nothing_costs_nothing(saved: Callable[[str], Path]) -> None:
    """Among the scales tried is zero, and it gives the very head that starts at zero."""
    _, result = trained(saved("gpt2"), 0.1, init="lm_head")
    _, plain = trained(saved("gpt2"), 0.1)
    trials = [trial for trial in result.search["urgency"] if "label_names" not in trial.settings]
    by_scale = {trial.settings["prior"]: trial.loss for trial in trials}
    assert set(by_scale) == {1.0, 0.6, 0.3, 0.0}
    assert by_scale[0.0] == pytest.approx(plain.search["urgency"][0].loss, abs=1e-6)


@pytest.mark.parametrize(
    "method",
    [mh.Frozen(), mh.Full(epochs=1, start="random"), mh.Fork(top=1, epochs=1), mh.LoRA(r=2, epochs=1)],
    ids=lambda method: type(method).__name__,
)
def test_every_method_starts_from_the_lm_head(saved: Callable[[str], Path], method: Any) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], init="lm_head"))
    model.add_head("symptoms", mh.MultiLabel(["pain", "fever", "cough"], init="lm_head"))
    result = mh.train(model, RECORDS, text="text", method=method)
    assert result.metrics["urgency"]["rows"] > 0
    assert model.heads["urgency"].trained


# --- errors -----------------------------------------------------------------------------------------

AB = ["a", "b"]
BOTH = [mh.Hidden(), mh.Hidden(pool="mean")]
# Backbone, head, words of the message.
REJECTED: dict[str, tuple[str, Callable[[], Any], tuple[str, ...]]] = {
    "logits of an encoder-decoder": ("t5", lambda: mh.Multiclass(AB, reads=mh.LMLogits()), ("T5", "Hidden()")),
    "logits without an LM": ("bare", lambda: mh.Multiclass(AB, reads=mh.LMLogits()), ("LMLogits", "BertModel")),
    "rows of an encoder-decoder": ("bart", lambda: mh.Multiclass(AB, init="lm_head"), ("lm_head", "Bart")),
    "rows without an LM": ("bare", lambda: mh.Multiclass(AB, init="lm_head"), ("lm_head", "BertModel")),
    "rows after a transform": (
        "bert",
        lambda: mh.Multiclass(AB, init="lm_head"),
        ("transform before its LM head", "LMLogits()"),
    ),
    "zero shot of an encoder": ("bert", lambda: mh.Multiclass(AB, zero_shot=True), ("next token", "Bert")),
    "rows for another layer": (
        "gpt2",
        lambda: mh.Multiclass(AB, reads=mh.Hidden(-2), init="lm_head"),
        ("last layer", "layer=-2"),
    ),
    "rows for two taps": ("gpt2", lambda: mh.Multiclass(AB, reads=BOTH, init="lm_head"), ("one tap",)),
    "rows for a learned pooling": (
        "gpt2",
        lambda: mh.Multiclass(AB, reads=mh.Hidden(pool="attention"), init="lm_head"),
        ("learned pooling", "attention"),
    ),
    "labels of the same words": (
        "gpt2",
        lambda: mh.Multiclass(["a", "b"], init="lm_head", label_words={"a": "pain", "b": "(pain)"}),
        ("'a'", "'b'", "label_words"),
    ),
    "a label without a token": (
        "qwen2",
        lambda: mh.Multiclass(["pain", "\u4e00"], init="lm_head"),
        ("'\u4e00'", "no token", "label_words"),
    ),
    "rows for logits": ("gpt2", lambda: mh.Multiclass(AB, reads=mh.LMLogits(), init="lm_head"), ("last layer",)),
}


@pytest.mark.parametrize("case", REJECTED)
def test_what_a_backbone_cannot_do_is_rejected_by_name(saved: Callable[[str], Path], tmp_path: Path, case: str) -> None:
    name, spec, words = REJECTED[case]
    if name == "bare":
        model = mh.HeadedModel.wrap(BertModel.from_pretrained(saved("bert")).eval(), tokenizer_for(BY_NAME["bert"]))
    else:
        model = mh.HeadedModel.from_pretrained(saved(name))
    with pytest.raises(mh.errors.HeadError) as caught:
        model.add_head("urgency", spec())
    assert all(word in str(caught.value) for word in ("'urgency'", *words)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not model.heads


def test_rows_need_a_tokenizer(saved: Callable[[str], Path]) -> None:
    bare = mh.HeadedModel.wrap(BY_NAME["gpt2"].build())
    with pytest.raises(mh.errors.HeadError, match="tokenizer"):
        bare.add_head("urgency", mh.Multiclass(LABELS, init="lm_head"))


SETTINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown start": (lambda: mh.Multiclass(LABELS, init="lmhead"), "'lmhead'"),
    "hidden layers": (lambda: mh.Multiclass(LABELS, init="lm_head", hidden=[3]), "hidden"),
    "a regression": (lambda: mh.Regression(init="lm_head"), "only supported by heads with labels"),
    "zero shot is a yes or no": (lambda: mh.Multiclass(LABELS, zero_shot="yes"), "'yes'"),
    "words of another label": (lambda: mh.Multiclass(LABELS, label_words={"urgnt": "now"}), "did you mean 'urgent'"),
    "a word that is none": (lambda: mh.Multiclass(LABELS, label_words={"urgent": 3}), "'urgent'"),
    "an empty word": (lambda: mh.Multiclass(LABELS, label_words={"urgent": [" "]}), "'urgent'"),
    "words without labels": (lambda: mh.Multiclass(LABELS, label_words="now"), "label_words"),
    "words without a start": (lambda: mh.Multiclass(LABELS, label_words={"urgent": "now"}), "init='lm_head'"),
    "unknown pool": (lambda: mh.LMLogits(pool="pooler"), "'pooler'"),
    "one token": (lambda: mh.LMLogits(top_k=1), "top_k"),
    "no number": (lambda: mh.LMLogits(top_k=True), "top_k"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_out_of_range_are_rejected(case: str) -> None:
    make, word = SETTINGS[case]
    with pytest.raises(mh.errors.HeadError, match=word):
        make()


def test_encoders_with_an_lm_head_are_listed() -> None:
    """Every encoder of the table has its reason; a new family must be put in one of the two."""
    assert {family.name for family in ENCODERS} <= TRANSFORMED
    assert not decoder_inputs(BY_NAME["gpt2"], 1)
