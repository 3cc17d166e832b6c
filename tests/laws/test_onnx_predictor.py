"""L29, L30 by ONNX: ``OnnxPredictor`` answers as ``Predictor`` does, without torch, or raises the same error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.heads import Ragged
from manyheads.inference import blocks
from manyheads.onnx.layout import GRAPH, PREDICTOR_JSON, TOKENIZER_JSON
from manyheads.onnx.layout_file import read_layout, write_layout
from manyheads.onnx.runner import rows_together
from manyheads.onnx.session import Session
from tests.families import BY_NAME, TEXTS, WORDS, Family, tokenizer_for
from tests.laws.oracle import add_heads

LABELS = ["routine", "urgent", "emergency"]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
MEAN = mh.Hidden(pool="mean")
HEADS: dict[str, Any] = {
    "urgency": mh.Multiclass(LABELS),
    "symptoms": mh.MultiLabel(["pain", "fever", "cough"], reads=MEAN),
    "level": mh.Ordinal(["low", "middle", "high"], reads=MEAN),
    "age": mh.Regression(),
    "visits": mh.Count(),
    "asked": mh.Multiclass(LABELS, reads=mh.Hidden(prompt="fever {text} pain")),
    "again": mh.Multiclass([1, 2, 3], reads=[mh.Hidden(), mh.Output("asked")]),
    "terms": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Lexical()]),
    "found": mh.Tokens(["symptom", "place"], subword="mean"),
    "parts": mh.Tokens(["noun", "verb"], scheme="plain"),
}
DECISIONS = {
    "urgency": mh.Decision(temperature=1.7, abstain_below=0.2, set_threshold=0.7, set_by="aps"),
    "symptoms": mh.Decision(thresholds=[0.3, 0.5, 0.6], temperature=0.8),
    "asked": mh.Decision(costs=[[0, 1, 1], [1, 0, 1], [9, 9, 0]]),
    "found": mh.Decision(temperature=2),
}
SINGLE = ["urgency", "symptoms", "level", "age", "visits", "terms"]
LONG = " ".join(WORDS[:72])  # beyond the limit of 64 tokens, also without the special tokens
MIXED = [*TEXTS, "", None, "  ", LONG, ["chest", "pain", "", "since today"], LONG[:300], "unbekannt 日本 🙂"]
PAIRS = [(TEXTS[6], TEXTS[2]), (LONG, TEXTS[1]), (TEXTS[0], LONG), ("", TEXTS[3]), ("", ""), None]


def model_of(family: Family) -> mh.HeadedModel:
    """Return a model of one layer with heads of every kind, as if they were trained, and with decisions."""
    layers = {"n_layer": 1} if family.causal else {"num_hidden_layers": 1}
    model = mh.HeadedModel.wrap(family.build(**layers), tokenizer_for(family))
    names = ("urgency", "found") if family.causal else tuple(HEADS)  # tracing takes time by the head
    add_heads(model, {name: HEADS[name] for name in names if name != "terms"})
    model.add_head("terms", HEADS["terms"])
    rows = [{"text": text, "terms": LABELS[row % 3]} for row, text in enumerate(TEXTS)]
    mh.train(model, rows, text="text", heads=["terms"], method=mh.Frozen(l2=0.1, cache=None), eval_fraction=0)
    for name, head in model.heads.items():
        head.trained = True
        head.decision = DECISIONS.get(name, head.decision)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return a family's model and the folder that it was exported to."""
    found: dict[str, tuple[mh.HeadedModel, Path]] = {}

    def of(family: str) -> tuple[mh.HeadedModel, Path]:
        if family not in found:
            found[family] = model_of(BY_NAME[family]), tmp_path_factory.mktemp("onnx") / family
            found[family][0].export_onnx(found[family][1], language_model=family == "gpt2")
        return found[family]

    return of


def assert_same(one: object, other: object, place: str) -> None:
    """Compare values of any form: numbers to 1e-5, everything else exactly."""
    if isinstance(one, Ragged) and isinstance(other, Ragged):
        one, other = {"values": one.values, "offsets": one.offsets}, {"values": other.values, "offsets": other.offsets}
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        assert list(one) == list(other), place
        for key in one:
            assert_same(one[key], other[key], f"{place}, {key}")
    elif isinstance(one, mh.Prediction | mh.Span):
        for item in fields(one):
            assert_same(getattr(one, item.name), getattr(other, item.name), f"{place}, {item.name}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert (type(one), len(one)) == (type(other), len(other)), place
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{place}, {number}")
    elif isinstance(one, np.ndarray | float) and not isinstance(other, str | None):
        assert np.asarray(one).dtype == np.asarray(other).dtype, place
        np.testing.assert_allclose(other, one, **TOLERANCE, err_msg=place)  # type: ignore[arg-type]
    else:
        assert one == other, place


def assert_equal_predictions(one: mh.Predictions, other: mh.Predictions) -> None:
    """Compare everything that predictions contain."""
    assert type(other) is type(one)
    assert other.heads == one.heads
    for name in ("logits", "scores", "values", "words", "empty", "truncated", "split", "windows", "tokens"):
        assert_same(getattr(one, name), getattr(other, name), name)
    assert_same(one.columns(all_scores=True), other.columns(all_scores=True), "columns")
    for row, (own, found) in enumerate(zip(one, other, strict=True)):
        assert_same(dict(own), dict(found), f"row {row}")


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("long_text", ["truncate", "mean", "max"])
def test_every_field_of_every_prediction_is_that_of_predictor(
    exported: Callable[[str], Any], family: str, long_text: str
) -> None:
    model, folder = exported(family)
    for length in (None, 18):
        own = mh.Predictor(model, long_text=long_text, max_length=length)
        found = mh.OnnxPredictor(folder, long_text=long_text, max_length=length, threads=1)
        assert found.heads == tuple(model.heads)
        single = [name for name in SINGLE if name in model.heads]
        for heads in (None, ["found"], ["terms", "urgency"], single):
            assert_equal_predictions(own(MIXED, heads=heads), found(MIXED, heads=heads))
        if length is None:
            single.remove("terms")  # it was trained on single texts
            assert_equal_predictions(own(PAIRS, heads=single), found(PAIRS, heads=single))
        assert_equal_predictions(own([]), found([]))
        assert_equal_predictions(own(TEXTS[:1]), found(np.array(TEXTS[:1])))


def test_rows_are_computed_in_batches_within_the_budget_and_a_prompt_that_nobody_asks_for_has_one_token(
    exported: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = exported("bert")
    shapes: list[dict[str, tuple[int, ...]]] = []
    run = Session.run

    def seen(self: Session, outputs: Any, inputs: Any) -> Any:
        shapes.append({name: array.shape for name, array in inputs.items()})
        return run(self, outputs, inputs)

    monkeypatch.setattr(Session, "run", seen)
    predictor = mh.OnnxPredictor(folder, batch_tokens=64)
    whole = predictor(TEXTS * 5)
    assert max(rows * tokens for rows, tokens in (shape["input_ids"] for shape in shapes)) <= 64
    assert all(shape["input_ids_1"][1] > shape["input_ids"][1] for shape in shapes)
    shapes.clear()
    monkeypatch.setattr(blocks, "_CHUNK", 7)
    assert_equal_predictions(whole, predictor(TEXTS * 5))
    shapes.clear()
    some = predictor(TEXTS, heads=["urgency"])
    assert {shape["input_ids_1"][1] for shape in shapes} == {1}
    np.testing.assert_allclose(some.logits["urgency"], whole.logits["urgency"][: len(TEXTS)], **TOLERANCE)


@pytest.mark.parametrize("row_groups", ["rows of equal length", "single rows"])
def test_rows_that_must_not_be_padded_are_not(
    exported: Callable[[str], Any], row_groups: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = exported("bert")
    expected = mh.OnnxPredictor(folder)(MIXED)
    for path in folder.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    (tmp_path / PREDICTOR_JSON).unlink()
    write_layout(replace(read_layout(folder), row_groups=row_groups), tmp_path)
    run = Session.run

    def unpadded(self: Session, outputs: Any, inputs: Any) -> Any:
        assert inputs["attention_mask"].all()
        assert inputs["attention_mask_1"].all()
        assert row_groups != "single rows" or len(inputs["input_ids"]) == 1
        return run(self, outputs, inputs)

    monkeypatch.setattr(Session, "run", unpadded)
    assert_equal_predictions(expected, mh.OnnxPredictor(tmp_path)(MIXED))
    lengths = np.array([[3, 5], [4, 5], [3, 5], [3, 4]])
    together = [group.tolist() for group in rows_together(lengths, row_groups)]
    assert sorted(map(sorted, together)) == {"rows of equal length": [[0, 2], [1], [3]]}.get(
        row_groups, [[0], [1], [2], [3]]
    )


def test_a_stream_gives_the_answers_of_a_list(exported: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = exported("gpt2")
    monkeypatch.setattr(blocks, "_STREAMED", 7)
    predictor, read = mh.OnnxPredictor(folder), []

    def texts() -> Iterator[object]:
        for text in MIXED:
            read.append(text)
            yield text

    stream = predictor.stream(texts(), heads=["urgency", "found"])
    streamed = [next(stream)]
    assert len(read) == 14, "two blocks ahead at most"
    streamed += stream
    for row, (one, other) in enumerate(zip(predictor(MIXED, heads=["urgency", "found"]), streamed, strict=True)):
        assert_same(dict(one), dict(other), f"row {row}")
    bad = predictor.stream(["a"] * 7 + ["b", 5])
    assert len([next(bad) for _ in range(7)]) == 7
    with pytest.raises(mh.errors.TextError, match="row 9: a text must be a string, got 5"):
        next(bad)


ASKED: dict[str, tuple[Any, ...]] = {
    "no list": ("one text",),
    "a number": ([5],),
    "half a surrogate pair": (["\ud800"],),
    "an unknown head": (["a"], ["urgencies"]),
    "a name alone": (["a"], "urgency"),
    "no head": (["a"], []),
    "pairs for words": (PAIRS, ["found"]),
    "pairs for a prompt": (PAIRS, ["asked"]),
    "pairs for a head that was trained on texts": (PAIRS, ["terms"]),
    "a long text": ([LONG],),
    "a text that is long beside a prompt": ([" ".join(WORDS[:61])], ["again"]),
}


@pytest.mark.parametrize("case", ASKED)
def test_errors_are_those_of_predictor(exported: Callable[[str], Any], case: str) -> None:
    model, folder = exported("bert")
    with pytest.raises(mh.errors.ManyheadsError) as own:
        mh.Predictor(model, long_text="error")(*ASKED[case])
    with pytest.raises(type(own.value)) as found:
        mh.OnnxPredictor(folder, long_text="error")(*ASKED[case])
    if case not in ("no head", "pairs for a prompt"):  # the folder does not record the text of a prompt
        assert str(found.value) == str(own.value)


def test_the_language_models_logits_are_those_of_each_text_alone(exported: Callable[[str], Any]) -> None:
    model, folder = exported("gpt2")
    found = mh.OnnxPredictor(folder).lm_logits([*TEXTS, "", LONG])
    assert [len(logits) for logits in found[-2:]] == [1, 64]
    for text, logits in zip(TEXTS, found, strict=False):
        with torch.no_grad():
            expected = model.backbone(**model.tokenizer([text], return_tensors="pt")).logits[0].numpy()
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, **TOLERANCE)
    assert len(mh.OnnxPredictor(folder).lm_logits([])) == 0
    with pytest.raises(mh.errors.InputError, match="the limit is 64"):
        mh.OnnxPredictor(folder, long_text="error").lm_logits([LONG])
    _, without = exported("bert")
    with pytest.raises(mh.errors.NoLanguageModelError, match="has no language model; export the model again"):
        mh.OnnxPredictor(without).lm_logits(TEXTS)


def test_settings_that_cannot_be_are_errors(exported: Callable[[str], Any]) -> None:
    _, folder = exported("bert")
    wrong: dict[str, tuple[Any, ...]] = {
        "long_text": ("cut", None),
        "batch_tokens": (0, True, "many"),
        "max_length": (0, 65, True, "9"),
        "threads": (0, -1, True, "2"),
        "providers": ([], ["GPU"], [("GPU", {})]),
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(mh.errors.InputError, match=name):
                mh.OnnxPredictor(folder, **{name: value})


def test_a_folder_that_is_no_whole_export_is_named_with_the_next_step(
    exported: Callable[[str], Any], saved: Callable[[str], Path], tmp_path: Path
) -> None:
    _, folder = exported("bert")
    for other in (tmp_path / "absent", saved("bert")):
        with pytest.raises(mh.errors.NotACheckpointError, match="manyheads export MODEL --to onnx"):
            mh.OnnxPredictor(other)
    record = json.loads((folder / PREDICTOR_JSON).read_text())
    for name in record["sizes"]:
        with (
            damaged(folder / name, lambda content: content[:-1]),
            pytest.raises(mh.errors.CorruptCheckpointError, match=rf"{name}: has .* bytes"),
        ):
            mh.OnnxPredictor(folder)
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "protocol 2 is unknown.* update manyheads": lambda record: record.update(protocol=2),
        "has no output 'nothing' of 3 logits": lambda record: record["heads"]["urgency"].update(output="nothing"),
        "has no output 'age' of 3 logits": lambda record: record["heads"]["urgency"].update(output="age"),
        "needs the inputs 'attention_mask_1', 'input_ids_1'": lambda record: record.update(
            prompts=[], heads={name: head for name, head in record["heads"].items() if head["passes"] == [0]}
        ),
    }
    for message, change in changes.items():

        def changed(content: bytes, change: Callable[[dict[str, Any]], object] = change) -> bytes:
            record = json.loads(content)
            change(record)
            return json.dumps(record).encode()

        with damaged(folder / PREDICTOR_JSON, changed), pytest.raises(mh.errors.CorruptCheckpointError, match=message):
            mh.OnnxPredictor(folder)
    assert len(mh.OnnxPredictor(folder)(TEXTS)) == len(TEXTS)


@contextmanager
def damaged(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """Change a file meanwhile."""
    content = path.read_bytes()
    path.write_bytes(change(content))
    try:
        yield
    finally:
        path.write_bytes(content)


ABSENT = ("torch", "transformers", "scipy", "sklearn", "pyarrow", "safetensors", "pandas", "regex", "rich", "jinja2")
BARE = """
import json, sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in set(sys.argv[3].split(",")):
            raise ImportError(f"{name} is absent")
sys.meta_path.insert(0, Absent())
import manyheads as mh
texts = json.loads(sys.argv[2])
for long_text in ("truncate", "mean"):
    found = mh.OnnxPredictor(sys.argv[1], long_text=long_text)(texts)
    rows = [{name: repr(prediction) for name, prediction in row.items()} for row in found]
    found.columns(all_scores=True)
print(json.dumps(rows))
"""


def run_bare(folder: Path, texts: list[Any], absent: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BARE, str(folder), json.dumps(texts), absent]
    return subprocess.run(command, capture_output=True, text=True)


def test_it_predicts_where_torch_and_all_else_is_absent(exported: Callable[[str], Any]) -> None:
    _, folder = exported("bert")
    texts = [text.split() for text in [*TEXTS, LONG]]  # texts in words: those of token heads need regex
    done = run_bare(folder, texts, ",".join(ABSENT))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    expected = mh.OnnxPredictor(folder, long_text="mean")(texts)
    assert json.loads(done.stdout) == [{name: repr(found) for name, found in row.items()} for row in expected]


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers", "regex"])
def test_a_package_that_it_needs_is_named(exported: Callable[[str], Any], package: str) -> None:
    _, folder = exported("bert")
    last = run_bare(folder, ["cough"], package).stderr.strip().splitlines()[-1]
    assert last.startswith(("manyheads.errors.MissingExtraError", "manyheads.errors.InputError"))
    assert f"pip install {'regex' if package == 'regex' else 'onnxruntime tokenizers numpy'}" in last
    assert (folder / TOKENIZER_JSON).is_file()
    assert (folder / GRAPH).is_file()
