"""Typed questions: heads answer what ``predict`` does, and the language model what transformers gives by hand."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import jevcompat.validate as reference
import pytest
import torch
from starlette.testclient import TestClient

import manyheads as mh
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.inference import Scorer
from manyheads.server import ServerSettings, create_app
from manyheads.server.engine import Engine, Work
from manyheads.server.metrics.metrics import Metrics
from manyheads.server.served import Served, Serving
from manyheads.server.systemone.answers import choice_confidence, score_confidence
from manyheads.server.systemone.asking import Asker
from manyheads.server.systemone.prompts import PromptedQuestion
from manyheads.server.systemone.questions import Question, SystemOneBody
from manyheads.server.systemone.work import SystemOneWork
from manyheads.server.systemone.yes_no import yes_label
from manyheads.server.systemone.zero_shot import ZeroShotHeads
from tests.families import BY_NAME, tokenizer_for
from tests.systemone_tools import ROWS, language_model, with_heads

STATE = "severe chest pain since two hours"
NOUL = {"type": "noul", "instructions": "Is it severe?"}
CHOICE = {
    "type": "choice",
    "instructions": "Where is the pain?",
    "criteria": {"chest": None, "head": None, "leg": None},
}
SCORE = {"type": "score", "instructions": "How bad is it?", "criteria": ["mild", "severe", "chronic"]}
PROMPTED = {"bad": NOUL, "where": CHOICE, "how": SCORE}


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    return with_heads(language_model())


@pytest.fixture(scope="module")
def client(model: mh.HeadedModel) -> Iterator[TestClient]:
    with TestClient(create_app(model)) as found:
        yield found


def ask(client: TestClient, questions: Mapping[str, Any], state: Any = STATE, **other: Any) -> dict[str, Any]:
    response = client.post(
        "/v1/systemone", json={"model": "jev-latest", "state": state, "questions": questions, **other}
    )
    assert response.status_code == 200, response.text
    return response.json()


def refuse(client: TestClient, questions: Mapping[str, Any], state: Any = STATE) -> dict[str, Any]:
    response = client.post("/v1/systemone", json={"model": "jev-latest", "state": state, "questions": questions})
    assert response.status_code == 422, response.text
    (problem,) = response.json()["detail"]
    return problem


def positions_of(model: mh.HeadedModel) -> tuple[list[int], Any]:
    """Return a list that gets the number of tokens of each pass through the stack, and the hook that fills it."""
    seen: list[int] = []
    hook = model.core.backbone.stack.register_forward_hook(
        lambda _module, _inputs, kwargs, _output: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return seen, hook


def test_heads_answer_with_the_numbers_of_predict_in_one_forward(client: TestClient, model: mh.HeadedModel) -> None:
    (expected,) = model.predict([STATE])
    types = {"level": "score", "topic": "choice", "known": "noul", "symptoms.pain": "noul", "age": "x_value"}
    types["found"] = "x_entities"
    seen, hook = positions_of(model)
    answers = ask(client, {name: {"type": kind} for name, kind in types.items()})["answers"]
    hook.remove()
    assert seen == [len(model.tokenizer(STATE)["input_ids"])]
    assert list(answers) == list(types)
    levels = list(expected["level"].scores.values())
    assert list(answers["level"]["probabilities"].values()) == levels
    assert answers["level"]["score"] == levels[1] + 2 * levels[2]
    assert answers["level"]["legend"] == {"0": "routine", "1": "urgent", "2": "emergency"}
    assert answers["topic"]["probabilities"] == expected["topic"].scores
    assert answers["topic"]["choice"] == answers["topic"]["x_label"] == expected["topic"].label
    assert answers["known"]["noul"] == expected["known"].scores["yes"]
    assert answers["symptoms.pain"]["noul"] == expected["symptoms"].scores["pain"]
    assert answers["symptoms.pain"]["x_label"] == ("pain" in expected["symptoms"].labels)
    assert answers["age"] == {"type": "x_value", "x_value": expected["age"].value}
    assert expected["found"].spans
    for entity, span in zip(answers["found"]["x_entities"], expected["found"].spans, strict=True):
        assert (entity["start"], entity["end"], entity["score"]) == (span.start, span.end, span.score)
        assert (entity["word"], entity["entity_group"]) == (STATE[span.start : span.end], "symptom")


def test_a_decision_adds_its_fields_and_changes_no_probability(model: mh.HeadedModel) -> None:
    costs = [[0, 9, 9], [9, 0, 9], [0.1, 0.1, 0]]
    before = model.heads["topic"].decision
    model.heads["topic"].decision = mh.Decision(abstain_below=0.99, set_threshold=0.9, costs=costs)
    try:
        with TestClient(create_app(model)) as client:
            (expected,) = model.predict([STATE], heads=["topic"])
            answer = ask(client, {"topic": {"type": "choice"}})["answers"]["topic"]
    finally:
        model.heads["topic"].decision = before
    assert answer["choice"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert answer["x_label"] == expected["topic"].label
    assert (answer["x_abstained"], tuple(answer["x_set"])) == (True, expected["topic"].set)
    assert answer["x_cost"] == expected["topic"].cost


@pytest.mark.parametrize(
    ("name", "question", "place", "named"),
    [
        ("topic", {"type": "score"}, "type", "'choice'"),
        ("level", {"type": "choice"}, "type", "'score'"),
        ("known", {"type": "score"}, "type", "'choice', 'noul'"),
        ("age", {"type": "noul"}, "type", "'x_value'"),
        ("found", {"type": "choice", "criteria": {"a": None, "b": None}}, "type", "'x_entities'"),
        ("symptoms", {"type": "choice"}, "type", "'symptoms.pain', 'symptoms.fever'"),
        ("topic", {"type": "choice", "criteria": {"pain": None, "secret": None}}, "criteria", "'fever'"),
        ("level", {"type": "score", "criteria": ["emergency", "urgent", "routine"]}, "criteria", "in this order"),
        ("new", {"type": "choice"}, "criteria", "unless its id is a head"),
        ("new", {"type": "x_value"}, "type", "'age'"),
        ("new", {"type": "noul"}, "instructions", "criteria"),
    ],
)
def test_a_question_that_does_not_fit_is_told_what_fits(
    client: TestClient, name: str, question: dict[str, Any], place: str, named: str
) -> None:
    problem = refuse(client, {name: question})
    assert problem["loc"] == ["body", "questions", name, place]
    assert named in problem["msg"]
    assert "secret" not in problem["msg"]


def test_the_text_of_a_head_is_the_value_of_its_column(client: TestClient) -> None:
    question = {"topic": {"type": "choice"}}
    expected = ask(client, question)["answers"]
    assert ask(client, question, {"id": 3, "note": STATE})["answers"] == expected
    as_json = ask(client, question, {"other": STATE})
    assert as_json["answers"] == ask(client, question, '{"other":"%s"}' % STATE)["answers"]  # noqa: UP031
    assert as_json["answers"] != expected


def test_a_head_of_pairs_reads_two_columns_or_an_array_of_two() -> None:
    rows = [{"first": row["note"], "second": str(row["age"]), "same": row["known"]} for row in ROWS]
    pairs = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    pairs.add_head("same", mh.Multiclass(["no", "yes"]))
    mh.train(pairs, rows, text=("first", "second"), method=mh.Frozen(cache=None, dtype="float32"))
    (expected,) = pairs.predict([("mild cough", "fever")])
    with TestClient(create_app(pairs)) as client:
        for state in ({"first": "mild cough", "second": "fever"}, ["mild cough", "fever"]):
            answer = ask(client, {"same": {"type": "noul"}}, state)["answers"]["same"]
            assert answer["noul"] == expected["same"].scores["yes"]
        assert "pairs" in refuse(client, {"same": {"type": "noul"}}, "mild cough")["msg"]
        problem = refuse(client, {"different": NOUL}, "mild cough")
        assert "'same'" in problem["msg"]  # BERT generates nothing, so only heads answer


def by_hand(model: mh.HeadedModel, state: str, prompt: str, words: list[list[str]]) -> list[float]:
    """Return the probabilities of options by transformers: logits of the next token, minus those for an empty state.

    The words are single tokens.
    """
    ids = [model.tokenizer(state)["input_ids"], model.tokenizer(prompt)["input_ids"]]
    with torch.no_grad():
        whole, empty = (model.backbone(torch.tensor([rows])).logits[0, -1] for rows in ([*ids[0], *ids[1]], ids[1]))
    tokens = [[model.tokenizer(f" {word}")["input_ids"] for word in option] for option in words]
    assert all(len(piece) == 1 for option in tokens for piece in option)
    logits = [sum(float(whole[piece] - empty[piece]) for (piece,) in option) / len(option) for option in tokens]
    return torch.tensor(logits).softmax(dim=0).tolist()


def test_the_language_model_compares_next_tokens_with_those_of_an_empty_state(
    client: TestClient, model: mh.HeadedModel
) -> None:
    answers = ask(client, {"where": CHOICE, "how": SCORE})["answers"]
    where = by_hand(model, STATE, "\n\nQ: Where is the pain?\nA:", [["chest"], ["head"], ["leg"]])
    how = by_hand(model, STATE, "\n\nQ: How bad is it?\nA:", [["mild"], ["severe"], ["chronic"]])
    assert list(answers["where"]["probabilities"].values()) == pytest.approx(where, abs=1e-5)
    assert list(answers["how"]["probabilities"].values()) == pytest.approx(how, abs=1e-5)
    described = {**CHOICE, "criteria": {"chest": "front", "head": {"a": [1]}, "leg": None}}
    answer = ask(client, {"where": described})["answers"]["where"]
    prompt = '\n\nchest: front\nhead: {"a":[1]}\n\nQ: Where is the pain?\nA:'
    expected = by_hand(model, STATE, prompt, [["chest"], ["head"], ["leg"]])
    assert list(answer["probabilities"].values()) == pytest.approx(expected, abs=1e-5)


def test_the_tokens_of_a_state_are_read_once_for_all_questions(client: TestClient, model: mh.HeadedModel) -> None:
    questions = {
        f"{name} {place}": {**question, "instructions": f"{place}?"}
        for place in range(3)
        for name, question in PROMPTED.items()
    }
    ask(client, questions)  # calibrates
    seen, hook = positions_of(model)
    usage = ask(client, questions)["usage"]
    hook.remove()
    prompts = [len(model.tokenizer(f"\n\nQ: {place}?\nA:")["input_ids"]) for place in range(3)]
    # Choice, score and noul with the same instructions have the same prompt, and so share its pass too.
    assert seen == [len(model.tokenizer(STATE)["input_ids"]), *prompts]
    assert usage == {"input_tokens": sum(seen), "output_tokens": 0}


def test_other_questions_their_order_and_ids_change_no_answer(client: TestClient) -> None:
    together = ask(client, PROMPTED | {"topic": {"type": "choice"}})["answers"]
    turned = ask(client, dict(reversed([(name + " 🎯", question) for name, question in PROMPTED.items()])))["answers"]
    for name, question in PROMPTED.items():
        alone = reference.answer_vector(ask(client, {"x": question})["answers"]["x"])
        assert reference.answer_vector(together[name]) == pytest.approx(alone, abs=1e-5)
        assert reference.answer_vector(turned[name + " 🎯"]) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        ["chest pain", "pain chest"],
        ["1", "11", "111"],
        ["yes", "yes!", "(yes)"],
        ["?", "!", "..."],
        [" ", "\n", "\t"],
        ["", "a"],
        ["🙂", "🙃", "환불"],
        ["{text}", "{ text}"],
        ["NaN", "null", "None"],
        [f"{'pain ' * number}".strip() for number in range(1, 31)],
    ],
    ids=lambda options: repr(options)[:30],
)
def test_options_that_look_alike_to_the_tokenizer_have_scores_of_their_own(
    client: TestClient, options: list[str]
) -> None:
    question = {"type": "choice", "instructions": "Which {text}?", "criteria": dict.fromkeys(options)}
    for state in (STATE, "cough {text}"):
        answer = ask(client, {"q": question}, state)["answers"]["q"]
        assert list(answer["probabilities"]) == options
        assert len(set(answer["probabilities"].values())) == len(options)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_levels_may_repeat(client: TestClient) -> None:
    answer = ask(client, {"q": {"type": "score", "criteria": ["low", "low", {"is": "high"}]}})["answers"]["q"]
    assert answer["legend"] == {"0": "low", "1": "low", "2": {"is": "high"}}
    assert len(set(answer["probabilities"].values())) == 3


def test_a_tokenizer_that_tells_nothing_apart_is_an_error_and_no_coin_toss() -> None:
    words = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer_for(BY_NAME["gpt2"]))  # knows a hundred words
    with TestClient(create_app(words)) as client:
        problem = refuse(client, {"q": {"type": "choice", "criteria": dict.fromkeys(["Billing", "Sales", "Legal"])}})
        assert ask(client, {"q": CHOICE})["answers"]["q"]["choice"] in CHOICE["criteria"]
    assert "apart" in problem["msg"]


def test_a_state_beyond_the_limit_is_cut_and_flagged() -> None:
    words = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer_for(BY_NAME["gpt2"]))
    with TestClient(create_app(words)) as client:
        answered = ask(client, {"where": CHOICE, "how": SCORE}, "pain " * 70)
        assert {answer["x_flag"] for answer in answered["answers"].values()} == {"truncated"}
        assert ask(client, {"where": CHOICE}, "")["answers"]["where"]["x_flag"] == "empty"
        long = {"where": {**CHOICE, "instructions": "pain " * 70}}
        assert "leaves no room" in refuse(client, long)["msg"]


def test_states_of_several_requests_are_read_in_one_pass(model: mh.HeadedModel) -> None:
    served = Served.of(model.core, model.tokenizer)
    heads = ZeroShotHeads()
    questions = tuple(sorted(PromptedQuestion.of(Question.model_validate(question)) for question in PROMPTED.values()))
    works = [
        SystemOneWork(state, questions, heads)
        for state in (STATE, STATE.replace("two", "three"), STATE.replace("chest", "leg"))
    ]
    alone = [work.run(served, [])[0] for work in works]
    seen, hook = positions_of(model)
    together = works[0].run(served, works[1:])
    hook.remove()
    assert len(seen) == 1 + len(questions)
    for one, other in zip(alone, together, strict=True):
        assert (one.tokens, one.flag) == (other.tokens, other.flag)
        for question in questions:
            assert one.probabilities[question] == pytest.approx(other.probabilities[question], abs=1e-5)


def test_heads_of_old_questions_are_dropped(model: mh.HeadedModel) -> None:
    served, heads = Served.of(model.core, model.tokenizer), ZeroShotHeads(most_bytes=40_000)
    asked = [PromptedQuestion.of(Question(type="noul", instructions=f"{number}?")) for number in range(3)]
    first, second = (heads.of(served, question) for question in asked[:2])
    assert heads.of(served, asked[0]) is first
    heads.of(served, asked[2])
    assert len(heads) == 2
    assert heads.of(served, asked[0]) is first  # asked more recently than the second
    assert heads.of(served, asked[1]) is not second


class TwoModels(Serving):
    """Exchanges a model for a newer one."""

    def __init__(self, served: Served, newer: Served) -> None:
        super().__init__(served)
        self.newer = newer

    def exchange(self) -> None:
        self._current = self.newer


class ExchangingEngine(Engine):
    """Exchanges the model before it takes the second work."""

    def __init__(self, serving: TwoModels, settings: ServerSettings) -> None:
        super().__init__(serving, settings, Metrics())
        self.serving = serving
        self.taken = 0

    async def answer(self, work: Work[Any]) -> tuple[Served, Any]:
        self.taken += 1
        if self.taken == 2:
            self.serving.exchange()
        return await super().answer(work)


def test_no_answer_is_a_mixture_of_two_models(model: mh.HeadedModel) -> None:
    newer = model.core.with_copied_heads()
    newer.heads["topic"].decision = mh.Decision(temperature=30.0)
    settings = ServerSettings()
    serving = TwoModels(Served.of(model.core, model.tokenizer), Served.of(newer, model.tokenizer))
    engine = ExchangingEngine(serving, settings)
    engine.start()
    try:
        asked = {"topic": {"type": "choice"}, "where": CHOICE}
        body = SystemOneBody.model_validate({"model": "jev-latest", "state": STATE, "questions": asked})
        served, answered = asyncio.run(Asker(serving, engine, settings, ZeroShotHeads()).answer(body))
    finally:
        engine.stop()
    assert served is serving.newer
    assert engine.taken == 4
    (expected,) = Scorer(newer, model.tokenizer)(read_texts_from_list([STATE]), ["topic"])
    assert answered.answers["topic"]["probabilities"] == expected["topic"].scores
    assert model.predict([STATE])[0]["topic"].scores != expected["topic"].scores


def test_confidence_is_that_of_the_reference() -> None:
    draw = random.Random(0)
    for count in [2, 3, 10, 255] * 20:
        weights = [draw.random() ** draw.choice((1, 9)) for _ in range(count)]
        shares = [weight / sum(weights) for weight in weights]
        assert choice_confidence(shares) == pytest.approx(reference.choice_confidence(shares))
        assert score_confidence(shares) == pytest.approx(reference.score_confidence(shares))
    assert (choice_confidence([1.0, 0.0]), score_confidence([0.0, 0.0, 1.0])) == (1.0, 1.0)
    assert (choice_confidence([0.5, 0.5]), score_confidence([0.5, 0.0, 0.5])) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("labels", "yes"),
    [
        (["no", "yes"], "yes"),
        ([True, False], True),
        ([0, 1], 1),
        ([1.0, 0.0], 1.0),
        ([" JA", "Nein"], " JA"),
        (["yes", "false"], None),
        (["yes", "no", "maybe"], None),
        (["pain", "fever"], None),
    ],
)
def test_which_labels_are_a_yes_and_a_no(labels: list[object], yes: object) -> None:
    assert yes_label(labels) is yes or yes_label(labels) == yes != None  # noqa: E711


def test_names_of_the_model(client: TestClient) -> None:
    listed = client.get("/v1/models").json()["models"]
    for name in (model["name"] for model in listed):
        assert ask(client, {"known": {"type": "noul"}}, model=name)["model"] in {model["name"] for model in listed}
    body = {"model": "secret-name", "state": STATE, "questions": {"q": NOUL}}
    response = client.post("/v1/systemone", json=body)
    assert (response.status_code, response.json()["detail"]["error_type"]) == (404, "model_not_found")
    assert "secret-name" not in response.text


def raw(question: bytes = json.dumps(NOUL).encode(), state: bytes = b'"x"') -> bytes:
    return b'{"model":"jev-latest","state":%s,"questions":{"q":%s}}' % (state, question)


@pytest.mark.parametrize(
    "body",
    [
        raw(state=b'{"a":NaN}'),
        raw(state=b"[1e999]"),
        raw(state=b"[" + b"9" * 5000 + b"]"),
        raw(state=b'"\\ud800"'),
        raw(state=b"[" * 50_000),
        raw(state=b"null"),
        raw(state=b"3"),
        raw(b'{"type":"score","criteria":[["secret"],[NaN]]}'),
        raw(b'{"type":"score","criteria":["a",null]}'),
        raw(b'{"type":"score","criteria":["a"]}'),
        raw(b'{"type":"noul","instructions":"a","criteria":{"maybe":"secret"}}'),
        raw(b'{"type":"noul","instructions":"a","criteria":["secret"]}'),
        raw(b'{"type":"secret","instructions":"a"}'),
        raw(b'{"type":"box","instructions":"secret"}'),
        b'{"model":"jev-latest","state":"x","questions":{"":{"type":"noul","instructions":"secret"}}}',
        b'{"model":"jev-latest","state":"x","questions":{"q":{"type":"noul","instructions":"a"}},"assets":{"secret":{}}}',
    ],
    ids=lambda body: body[:90].decode(),
)
def test_a_hostile_body_is_answered_with_422_and_not_repeated(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/systemone", content=body)
    assert response.status_code == 422, response.text
    assert all(problem["loc"][0] == "body" for problem in response.json()["detail"])
    assert "secret" not in response.text


def test_limits_hold_before_anything_is_tokenized(model: mh.HeadedModel) -> None:
    with TestClient(create_app(model, ServerSettings(max_characters=100, max_texts=2))) as client:
        seen, hook = positions_of(model)
        assert refuse(client, {"q": NOUL}, ["x" * 101])["loc"] == ["body", "state"]
        assert refuse(client, {"q": {**NOUL, "instructions": "x" * 101}})["loc"] == ["body", "questions"]
        assert "at most 2" in refuse(client, dict.fromkeys("abc", NOUL))["msg"]
        hook.remove()
    assert seen == []
