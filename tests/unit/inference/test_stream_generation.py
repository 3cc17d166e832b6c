"""What ``stream_generation`` yields, how it is stopped, and how errors reach the caller."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

import manyheads as mh
from manyheads.backbone.prefill import Prefill
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.inference.scorer import Scorer
from manyheads.inference.streamed_generation import StreamedGeneration
from tests.families import BY_NAME, BYTE_PAIRS, LAYERS, TEXTS, VOCABULARY, tokenizer_for
from tests.laws.oracle import RECORDS
from tests.unit.inference.test_generating import METHODS, READS, assert_as_predicted, headed
from tests.unit.inference.test_growing_text import byte_level

PROMPTS = TEXTS[:2]
# Never an end token, so that each text has as many tokens as it may have.
GREEDY: dict[str, Any] = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    """A Llama with a trained head; tests must not change it."""
    model = mh.HeadedModel.wrap(BY_NAME["llama"].build(), tokenizer_for(BY_NAME["llama"]))
    model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent", "emergency"], reads=mh.Hidden()))
    mh.train(model, RECORDS, text="text", method=mh.Frozen(dtype=torch.float32), eval_fraction=0)
    return model


def generation(model: mh.HeadedModel, stop: tuple[str, ...] = (), **options: Any) -> StreamedGeneration:
    core, tokenizer = model.core, model.tokenizer
    texts = read_texts_from_list(PROMPTS)
    return StreamedGeneration(core, tokenizer, Scorer(core, tokenizer), texts, None, {**GREEDY, **options}, stop)


def run(streamed: StreamedGeneration, steps: int = 100) -> tuple[list[str], mh.GenerationEnd]:
    """Return the texts and the end of a generation that is stopped after some steps."""
    events: list[Any] = []
    left = iter(range(steps - 1))
    streamed.run(events.append, lambda: next(left, None) is not None)
    texts = ["".join(piece.text for piece in events[1:-1] if piece.prompt == row) for row in range(len(PROMPTS))]
    return texts, events[-1]


def test_the_reasons_and_the_counts(model: mh.HeadedModel) -> None:
    texts, _ = model.generate_and_predict(PROMPTS, **GREEDY)
    found, end = run(generation(model))
    assert (found, end.reasons, end.output_tokens) == (texts, ("length", "length"), (5, 5))
    assert end.input_tokens == tuple(len(model.tokenizer(prompt)["input_ids"]) for prompt in PROMPTS)
    rows = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    ending = rows[0][2]
    _, end = run(generation(model, min_new_tokens=0, eos_token_id=[ending]))
    assert end.reasons == tuple("end" if ending in row else "length" for row in rows)
    assert end.output_tokens == tuple(row.index(ending) + 1 if ending in row else 5 for row in rows)


def test_it_is_stopped_between_two_tokens(model: mh.HeadedModel) -> None:
    _, end = run(generation(model, max_new_tokens=40, min_new_tokens=40), steps=3)
    assert (end.reasons, end.output_tokens) == (("stopped", "stopped"), (3, 3))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_stop_string_ends_its_own_text(beams: int) -> None:
    """The texts are those of transformers' ``stop_strings``, without what follows the beginning of the string."""
    model = mh.HeadedModel.wrap(BY_NAME["qwen2"].build(), byte_level())
    model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent"], reads=mh.Hidden())).trained = True
    # Different characters, none of them outside ASCII.
    options = {"num_beams": beams, "no_repeat_ngram_size": 1, "suppress_tokens": list(range(94, BYTE_PAIRS))}
    texts, _ = model.generate_and_predict(PROMPTS, **GREEDY, **options)
    word = texts[0][1:3]
    expected, _ = model.generate_and_predict(PROMPTS, **GREEDY, **options, stop_strings=[word])
    found, end = run(generation(model, stop=(word,), **options))
    assert found == [text.partition(word)[0] for text in expected]
    assert end.reasons == tuple("stop" if word in text else "length" for text in expected)
    assert "stop" in end.reasons
    _, same = run(generation(model, **options, stop_strings=[word]))
    assert same == end


def test_generated_padding_counts() -> None:
    """A model may generate the token that also fills rows."""
    model = mh.HeadedModel.wrap(BY_NAME["t5"].build(), tokenizer_for(BY_NAME["t5"]))
    others = list(range(1, VOCABULARY))
    _, end = run(generation(model, max_new_tokens=3, min_new_tokens=3, suppress_tokens=others))
    assert (end.reasons, end.output_tokens) == (("length", "length"), (3, 3))


def test_a_loop_that_ends_early_stops_the_generation(model: mh.HeadedModel) -> None:
    steps: list[int] = []

    def count(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        steps.append(ids.shape[1])
        return torch.zeros(len(ids), dtype=torch.bool)

    for event in model.stream_generation(PROMPTS, max_new_tokens=4000, min_new_tokens=4000, stopping_criteria=[count]):
        assert isinstance(event, mh.Predictions)
        break
    assert 1 <= len(steps) < 4000
    assert not any(thread.name == "manyheads-generate" for thread in threading.enumerate())


def test_errors_before_the_first_token_and_after(model: mh.HeadedModel) -> None:
    with pytest.raises(mh.errors.InputError, match="input_ids is made from the prompts"):
        model.stream_generation(PROMPTS, input_ids=torch.ones(1, 2, dtype=torch.long))
    with pytest.raises(mh.errors.UnknownHeadError, match="urgenzy"):
        model.stream_generation(PROMPTS, heads=["urgenzy"])

    def fail(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        if ids.shape[1] > 8:
            raise ZeroDivisionError("in the model")
        return torch.zeros(len(ids), dtype=torch.bool)

    events = model.stream_generation(PROMPTS, stopping_criteria=[fail], **GREEDY)
    assert isinstance(next(events), mh.Predictions)
    with pytest.raises(ZeroDivisionError, match="in the model"):
        list(events)


@pytest.mark.parametrize(("reads", "method"), [("prompt", "frozen"), ("auto", "fork"), ("auto", "lora")])
def test_heads_that_need_more_than_the_prefill(reads: str, method: str) -> None:
    """Their own pass runs between the first two tokens."""
    model = headed(reads=READS.get(reads, reads), method=METHODS[method])
    texts, _ = model.generate_and_predict(PROMPTS, **GREEDY)
    predictions, *pieces, _ = model.stream_generation(PROMPTS, **GREEDY)
    assert ["".join(piece.text for piece in pieces if piece.prompt == row) for row in range(2)] == texts
    assert_as_predicted(model, predictions, PROMPTS)


def test_no_language_model() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    with pytest.raises(mh.errors.NoLanguageModelError):
        model.stream_generation(PROMPTS)


def test_without_heads_and_without_prompts(model: mh.HeadedModel) -> None:
    predictions, *_, end = model.stream_generation(PROMPTS, heads=[], **GREEDY)
    assert ([dict(row) for row in predictions], len(end.reasons)) == ([{}, {}], 2)
    predictions, end = model.stream_generation([], **GREEDY)
    assert (len(predictions), end.reasons) == (0, ())


def test_a_prefill_is_recorded_in_its_own_thread(model: mh.HeadedModel) -> None:
    stack, ids = model.backbone.model, torch.tensor([[5, 6, 7]])
    prefill = Prefill(stack, ids, frozenset({-2}), LAYERS + 1, causal=True)
    outputs: list[Any] = []
    other = threading.Thread(target=lambda: outputs.append(stack(input_ids=ids)))
    with prefill.recording():
        other.start()
        other.join()
        assert not prefill.complete
        assert outputs[0].hidden_states is None
        stack(input_ids=ids)
        assert prefill.complete


class Embedded(torch.nn.Module):
    """The smallest stack."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(8, 4)

    def forward(self, input_ids: torch.Tensor) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.embedding(input_ids))


def test_the_hooks_of_a_prefill_do_not_break_a_compiled_graph() -> None:
    stack, ids = Embedded(), torch.tensor([[5, 6, 7]])
    prefill = Prefill(stack, ids, frozenset({-1}), 1, causal=True)
    with prefill.recording(), torch.no_grad():
        torch.compile(stack, backend="eager", fullgraph=True)(input_ids=ids)
        assert not prefill.complete
        stack(input_ids=ids)
        assert prefill.complete
