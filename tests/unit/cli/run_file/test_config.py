"""``manyheads train --config``: a whole run from a file, and the file that a saved model carries."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
import transformers
from safetensors.numpy import load_file

import manyheads as mh
from manyheads.backbone.identity.source import resolve_source
from manyheads.cli.run_file import config as config_module
from manyheads.cli.run_file import methods
from manyheads.cli.run_file.fields import checked, plain_fields
from manyheads.cli.run_file.heads import KINDS, build_head, write_head
from manyheads.cli.run_file.methods import METHODS, build_method, method_keys, read_method, write_method
from manyheads.data.labelled import Reading
from manyheads.training import Frozen, run_training
from manyheads.training.auto.method import Auto
from manyheads.training.dataset import Evaluation
from manyheads.training.tuning.fork import Fork
from manyheads.training.tuning.full import Full
from manyheads.training.tuning.lora import LoRA
from tests.families import TEXTS
from tests.unit.cli.test_app import called

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Tables = dict[str, Any]


@pytest.fixture
def place(tmp_path: Path, saved: Callable[[str], Path]) -> Path:
    """A folder with a table, and a backbone beside it."""
    with (tmp_path / "ads.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ad", "job_type", "education", "topics", "pay"])
        for row in range(60):
            labels = [("full", "part")[row % 2], ("0", "1", "")[row % 3], ("a|b", "b|c", "a|c")[row % 3]]
            writer.writerow([f"{TEXTS[row % len(TEXTS)]} {row}", *labels, row / 7])
    (tmp_path / "bert").symlink_to(saved("bert"))
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = called(*arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


Run = Callable[..., tuple[int, str, str]]


def whole() -> Tables:
    """A file that shows everything that options can say, and something that they cannot."""
    return {
        "data": "ads.csv",
        "backbone": "bert",
        "text": "ad",
        "out": "model",
        "eval_fraction": 0.2,
        "max_length": 20,
        "seed": 3,
        "method": {"name": "frozen", "cache": "none", "dtype": "float32"},
        "heads": {
            "job_type": {"layer": 1, "pool": "mean", "dropout": 0.1},
            "level": {"column": "education", "layer": 1, "pool": "mean", "dropout": 0.1},
        },
    }


def options(place: Path, out: str) -> list[object]:
    """The same run by options."""
    return [
        *(place / "ads.csv", "--backbone", place / "bert", "--text", "ad", "--out", place / out),
        *("--eval-fraction", 0.2, "--max-length", 20, "--seed", 3, "--cache", "none", "--dtype", "float32"),
        *("--head", "job_type", "--head", "level=education", "--layer", 1, "--pool", "mean", "--dropout", 0.1),
    ]


def write(place: Path, tables: Mapping[str, Any], name: str = "run.toml") -> Path:
    path = place / name
    path.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return path


def read(path: Path) -> Tables:
    return tomllib.loads(path.read_text("utf-8"))


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = load_file(first / "heads.safetensors"), load_file(second / "heads.safetensors")
    assert one
    assert {name: value.tobytes() for name, value in one.items()} == {
        name: value.tobytes() for name, value in two.items()
    }


def test_a_file_reports_what_options_say(run: Run, place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = write(place, {**whole(), "weight": "pay"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))  # a file's paths are its own folder's
        code, out, err = run("train", "--config", file, "--json")
        assert code == 0, err
        code, other, err = run("train", *options(place, "other"), "--weight", "pay", "--json")
        assert code == 0, err
    assert any("1 rows have the weight 0" in note for note in json.loads(out)["notes"])
    assert read(place / "model/run.toml")["weight"] == "pay"
    assert json.loads(out)["metrics"] == json.loads(other)["metrics"]
    assert_same_weights(place / "model", place / "other")
    assert read(place / "model/run.toml") == read(place / "other/run.toml")


@pytest.mark.parametrize(
    "method",
    [
        {},
        {"name": "frozen", "l2": 1},
        {"name": "fork", "epochs": 1, "top": 1},
        {"name": "lora", "epochs": 1, "r": 2, "targets": ["query", "value"], "best_by": "mean"},
        {"name": "full", "epochs": 1, "top": 1, "start": "random", "best_by": {"job_type": 1}},
        {"name": "auto", "minutes": 5, "keep_lm": False},
    ],
    ids=["default", "frozen", "fork", "lora", "full", "auto"],
)
def test_the_saved_file_does_the_run_again(run: Run, place: Path, method: Tables) -> None:
    heads = {
        "job_type": {"hidden": [4], "dropout": 0.2, "class_weights": {"part": 2, "full": 1}},
        "topics": {"kind": "multilabel", "class_weights": "balanced", "loss_weight": 0.5},
        "pay": {"layer": "mix", "pool": "mean", "detach": True},
    }
    file = write(place, {**whole(), "method": method, "heads": heads})
    assert run("train", "--config", file)[0] == 0
    saved_file = place / "model/run.toml"
    code, _, err = run("train", "--config", saved_file, "--out", place / "again")
    assert code == 0, err
    assert_same_weights(place / "model", place / "again")
    assert saved_file.read_text() == (place / "again/run.toml").read_text()
    specs = mh.HeadedModel.from_pretrained(place / "again").heads
    assert specs["job_type"].spec == mh.Multiclass(["full", "part"], hidden=[4], dropout=0.2, class_weights=[1, 2])
    assert specs["pay"].spec == mh.Regression(reads=mh.Hidden("mix", "mean"), detach=True)


def test_the_saved_file_is_whole_and_names_no_output(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    arguments = ("ads.csv", "-b", "bert", "-t", "ad", "-H", "job_type", "--eval", "ads.csv", "--cache", "features")
    code, _, err = run("train", *arguments, "--out", "model", "--overwrite")
    assert code == 0, err
    reported = read(place / "model/run.toml")
    assert (reported["data"], reported["eval"]) == (str(place / "ads.csv"), str(place / "ads.csv"))
    assert reported["backbone"] == str((place / "bert").resolve())
    assert reported["heads"]["job_type"]["labels"] == ["full", "part"]
    assert reported["method"] == {"name": "frozen", "dtype": "auto", "select_by": "loss", "label_names": True}
    assert not {"out", "overwrite"} & set(reported)
    assert "features" not in (place / "model/run.toml").read_text()


def test_options_win(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    tables = {**whole(), "method": {"name": "full", "lr": 1.0, "epochs": 9}, "max_length": 9}
    more = ("--seed", 5, "--dropout", 0.3, "--method", "frozen", "--head", "job_type", "--head", "topics")
    code, _, err = run("train", "--config", write(place, tables), *more, "--out", "mine", "--pool", "cls", "--balanced")
    assert code == 0, err
    assert not (place / "model").exists()
    reported = read(place / "mine/run.toml")
    assert (reported["seed"], reported["max_length"]) == (5, 9)
    assert reported["method"] == {
        "name": "frozen",
        "cache": "auto",
        "dtype": "auto",
        "select_by": "loss",
        "label_names": True,
    }
    assert set(reported["heads"]) == {"job_type", "topics"}
    assert {reported["heads"][name]["dropout"] for name in reported["heads"]} == {0.3}
    job_type = reported["heads"]["job_type"]
    assert (job_type["layer"], job_type["pool"], job_type["class_weights"]) == (1, "cls", "balanced")


def test_an_option_joins_the_settings_of_the_files_own_method(run: Run, place: Path) -> None:
    tables = {**whole(), "method": {"name": "full", "epochs": 1, "start": "random"}}
    code, _, err = run("train", "--config", write(place, tables), "--lr", 0.001)
    assert code == 0, err
    method = read(place / "model/run.toml")["method"]
    assert (method["name"], method["lr"], method["epochs"], method["start"]) == ("full", 0.001, 1.0, "random")


def test_heads_that_the_model_has_are_trained_as_they_are(run: Run, place: Path) -> None:
    assert run("train", "--config", write(place, whole()))[0] == 0
    tables = {**whole(), "backbone": "model", "out": "second"}
    tables["heads"] = {"job_type": {"layer": 1}, "level": {}, "topics": {}}
    code, _, err = run("train", "--config", write(place, tables), "--hidden", 4)
    assert code == 0, err
    specs = {name: head.spec for name, head in mh.HeadedModel.from_pretrained(place / "second").heads.items()}
    assert {name: tuple(spec.hidden) for name, spec in specs.items()} == {"job_type": (), "level": (), "topics": (4,)}
    code, _, err = run("train", "--config", place / "second/run.toml", "--out", place / "third")
    assert code == 0, err
    assert_same_weights(place / "second", place / "third")


def test_settings_of_a_kept_head_must_be_its_own(run: Run, place: Path) -> None:
    assert run("train", "--config", write(place, whole()))[0] == 0
    for reported in ({"layer": 2}, {"kind": "regression"}, {"column": "pay"}, {"labels": ["x", "y"]}, {"dropout": 0.5}):
        tables = {**whole(), "backbone": "model", "out": "second", "heads": {"job_type": reported}}
        code, _, err = run("train", "--config", write(place, tables))
        assert code == 1
        assert "'job_type'" in err
        assert next(iter(reported)) in err
    assert not (place / "second").exists()


def test_the_file_is_no_part_of_the_backbone(run: Run, place: Path) -> None:
    assert run("train", "--config", write(place, whole()))[0] == 0
    model = mh.HeadedModel.from_pretrained(place / "model")
    assert "run.toml" not in resolve_source(place / "model").stamps
    model.save_pretrained(place / "plain")
    assert {path.name for path in (place / "model").iterdir()} - {
        path.name for path in (place / "plain").iterdir()
    } == {"run.toml"}
    transformers.AutoModelForMaskedLM.from_pretrained(place / "model")


def test_a_second_run_replaces_the_file_and_the_card_of_the_first(run: Run, place: Path) -> None:
    assert run("train", "--config", write(place, whole()))[0] == 0
    first = {name: (place / "model" / name).read_text("utf-8") for name in ("run.toml", "README.md")}
    tables = whole()
    tables["method"] = {**tables.get("method", {}), "l2": 0.5}
    assert run("train", "--config", write(place, {**tables, "overwrite": True}))[0] == 0
    for name, text in first.items():
        assert (place / "model" / name).read_text("utf-8") != text, name


def test_a_text_beside_the_model_takes_no_name_of_its_files(place: Path) -> None:
    model = mh.HeadedModel.from_pretrained(place / "bert")
    model.add_head("job_type", mh.Multiclass(["full", "part"]))
    for name in ("config.json", "heads.json", "README.md", "../up.toml"):
        with pytest.raises(mh.errors.CheckpointError, match=name):
            run_training(
                *(model.core, model.tokenizer, place / "ads.csv", Frozen(), None, Reading("ad"), Evaluation()),
                out=place / "out",
                files={name: "x"},
            )
        assert sorted(path.name for path in place.iterdir()) == ["ads.csv", "bert"]
    mh.train(model, place / "ads.csv", text="ad", out=place / "out")
    assert not (place / "out/run.toml").exists()


def test_a_file_may_be_saved_by_notepad(run: Run, place: Path) -> None:
    file = write(place, whole())
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    code, _, err = run("train", "--config", file)
    assert code == 0, err


def test_labels_of_numbers_are_weighed_by_their_text(run: Run, place: Path) -> None:
    texts = [f"{TEXTS[row % len(TEXTS)]} {row}" for row in range(40)]
    pq.write_table(pa.table({"ad": texts, "stars": [row % 3 + 1 for row in range(40)]}), place / "ads.parquet")
    heads = {"stars": {"class_weights": {"3": 3, "1": 1, "2": 2.5}}}
    code, _, err = run("train", "--config", write(place, {**whole(), "data": "ads.parquet", "heads": heads}))
    assert code == 0, err
    spec = mh.HeadedModel.from_pretrained(place / "model").heads["stars"].spec
    assert spec == mh.Multiclass([1, 2, 3], class_weights=[1, 2.5, 3], dropout=0.0)


def changed(**keys: Any) -> Tables:
    return {**whole(), **keys}


def head(**keys: Any) -> Tables:
    return {**whole(), "heads": {"job_type": keys}}


def without(*keys: str) -> Tables:
    return {key: value for key, value in whole().items() if key not in keys}


# What the file shows -> words of the message.
ERRORS: dict[str, tuple[Tables | str | bytes | None, tuple[str, ...]]] = {
    "no file": (None, ("run.toml", "--config")),
    "no TOML": ("data = ads.csv\n", ("run.toml", "not TOML", "line 1")),
    "a key twice": ('data = "a"\ndata = "b"\n', ("run.toml", "not TOML")),
    "no UTF-8": (b'data = "\xe9"\n', ("run.toml", "UTF-8")),
    "nested without end": ("data = " + "[" * 9_999, ("run.toml", "not TOML")),
    "unknown key": (changed(txt="ad"), ("run.toml", "'txt'", "did you mean 'text'")),
    "an option's spelling": (changed(**{"eval-fraction": 0.1}), ("'eval-fraction'", "'eval_fraction'")),
    "unknown table": (changed(head={}), ("'head'", "did you mean 'heads'")),
    "unknown setting": (changed(method={"name": "full", "epoch": 1}), ("[method]", "full", "'epoch'", "'epochs'")),
    "a setting of another method": (changed(method={"lr": 0.1}), ("[method]", "frozen", "'lr'", "'l2'")),
    "a setting that TOML cannot hold": (changed(method={"name": "full", "trainer": {}}), ("[method]", "'trainer'")),
    "unknown method": (changed(method={"name": "frozzen"}), ("[method]", "'frozzen'", "did you mean 'frozen'")),
    "unknown key of a head": (head(dropuot=0.1), ("[heads.job_type]", "'dropuot'", "did you mean 'dropout'")),
    "a key that the kind lacks": (head(kind="regression", labels=[1]), ("[heads.job_type]", "regression", "'labels'")),
    "unknown tap": (head(reads="hiden"), ("[heads.job_type]", "'hiden'", "did you mean 'hidden'")),
    "a key of another tap": (head(reads="lm_logits", layer=2), ("[heads.job_type]", "'lm_logits'", "'layer'")),
    "a key of no tap": (head(reads="auto", pool="mean"), ("[heads.job_type]", "'auto'", "'pool'")),
    "a prompt without a text": (head(prompt="Type:"), ("[heads.job_type]", "{text}", "'Type:'")),
    "words of no label": (head(label_words={"full": 3}), ("[heads.job_type]", "label_words must be")),
    "unknown kind": (head(kind="multi-class"), ("[heads.job_type]", "'multi-class'", "did you mean 'multiclass'")),
    "a key of the top below a table": (changed(method={"seed": 1}), ("[method]", "'seed'", "top of the file")),
    "a key of the top in a head": (head(text="ad"), ("[heads.job_type]", "'text'", "top of the file")),
    "text for a number": (changed(seed="3"), ("run.toml: seed must be a whole number", "'3'")),
    "a fraction for a count": (changed(max_length=3.5), ("max_length must be a whole number", "3.5")),
    "truth for a number": (changed(seed=True), ("seed must be a whole number", "True")),
    "a number for truth": (changed(overwrite=1), ("overwrite must be true or false", "1")),
    "a number for a text": (changed(text=["ad", 3]), ("text must be a string or a list of strings", "3")),
    "no method table": (changed(method="frozen"), ("[method] must be a table", "'frozen'")),
    "no table of heads": (changed(heads=["job_type"]), ("[heads] must be a table",)),
    "no head's table": (changed(heads={"job_type": "job_type"}), ("[heads.job_type] must be a table",)),
    "wrong type in a method": (changed(method={"name": "full", "top": "all"}), ("[method]", "top must be", "'all'")),
    "wrong type in a head": (head(hidden=[4, "8"]), ("[heads.job_type]", "hidden must be a list of whole numbers")),
    "wrong class weights": (head(class_weights={"full": "much"}), ("[heads.job_type]", "class_weights must be")),
    "a number beyond 64 bits": (changed(seed=2**70), ("seed must be a whole number",)),
    "no fraction": (changed(eval_fraction=1.5), ("eval_fraction must be at least 0 and below 1", "1.5")),
    "not a number": (changed(eval_fraction=float("nan")), ("eval_fraction", "nan")),
    "negative seed": (changed(seed=-1), ("seed must be", "-1")),
    "no length": (changed(max_length=0), ("max_length must be positive",)),
    "unknown word": (changed(long_text="cut"), ("long_text must be 'truncate' or 'error'", "'cut'")),
    "three texts": (changed(text=["a", "b", "c"]), ("text must be",)),
    "rate out of range": (changed(method={"name": "full", "lr": -1}), ("[method]: lr must be", "-1")),
    "dropout out of range": (head(dropout=1), ("[heads.job_type]: dropout must be", "1.0")),
    "unknown pooling": (head(pool="men"), ("[heads.job_type]", "'men'", "did you mean 'mean'")),
    "unknown layer": (head(layer="top"), ("[heads.job_type]", "layer", "'top'")),
    "a search beside a head": (head(reads="auto", output="pay"), ("[heads.job_type]", "'auto'", "'hidden'")),
    "no head to read": (head(output=""), ("[heads.job_type]", "Output: takes the name")),
    "a head that is no name": (head(output=["pay"]), ("[heads.job_type]", "output must be a string")),
    "one label": (head(kind="multiclass", labels=["full"]), ("[heads.job_type]", "at least 2 labels")),
    "no order": (head(kind="ordinal"), ("[heads.job_type]: an ordinal head needs its labels", "order", "labels = [")),
    "no whole run": (without("text", "heads"), ("--text (key 'text')", "--head", "[heads.NAME]", "run.toml")),
    "no table": (without("data"), ("DATA (key 'data')", "run.toml")),
    "no output": (without("out"), ("--out (key 'out')", "run.toml")),
    "no such table": (changed(data="none.csv"), ("none.csv",)),
    "no such evaluation table": (changed(eval="none.csv"), ("none.csv",)),
    "no such column": (changed(text="advert"), ("'advert'", "'ad'")),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_comes_before_anything_is_loaded_or_written(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    reported, words = ERRORS[case]
    file = place / "run.toml"
    if reported is not None:
        file.write_bytes(
            reported
            if isinstance(reported, bytes)
            else (reported if isinstance(reported, str) else tomli_w.dumps(reported)).encode()
        )
    monkeypatch.setattr(mh.HeadedModel, "from_pretrained", lambda *_, **__: pytest.fail("a backbone was loaded"))
    before = sorted(place.iterdir())
    code, out, err = run("train", "--config", file)
    assert code == 1
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("manyheads: ")
    assert all(word in err for word in words), err
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--top", 1), ("--top", "fork or full", "'frozen'")),
        (("--method", "full", "--cache", "none"), ("--cache", "frozen or fork", "'full'")),
        (("--method", "fulll"), ("--method", "'fulll'", "did you mean 'full'")),
        (("--eval-fraction", 2), ("--eval-fraction", "below 1")),
        (("--seed", -1), ("--seed", "-1")),
        (("--layer", "top"), ("--layer", "'top'")),
        (("--method", "full", "--lr", -1), ("lr", "-1")),
        (("--text", "a", "--text", "b", "--text", "c"), ("--text", "two")),
    ],
)
def test_an_option_is_rejected_by_its_own_name(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, more: Sequence[object], words: Sequence[str]
) -> None:
    monkeypatch.setattr(mh.HeadedModel, "from_pretrained", lambda *_, **__: pytest.fail("a backbone was loaded"))
    code, _, err = run("train", "--config", write(place, whole()), *more)
    assert code == 1
    assert all(word in err for word in words), err
    assert "run.toml" not in err


def test_without_a_file_every_lacking_option_is_named(run: Run) -> None:
    code, _, err = run("train", "--backbone", "x")
    assert code == 1
    assert all(word in err for word in ("DATA", "--text", "--out", "--head", "--config"))
    assert "--backbone" not in err


def test_a_backbone_of_the_working_folder_is_not_the_files(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "sub").mkdir()
    monkeypatch.chdir(place)
    code, _, err = run("train", "--config", write(place / "sub", {**whole(), "data": "../ads.csv"}))
    assert code == 1
    assert all(word in err for word in ("run.toml", "backbone 'bert'", str(place / "bert")))
    code, _, err = run(
        "train", "--config", write(place / "sub", {**whole(), "data": "../ads.csv", "backbone": "../bert"})
    )
    assert code == 0, err
    assert read(place / "sub/model/run.toml")["backbone"] == str((place / "bert").resolve())


def test_a_hub_id_stays_one(tmp_path: Path) -> None:
    file = write(tmp_path, {**whole(), "backbone": "owner/name"})
    assert config_module.read_config(file).run["backbone"] == "owner/name"
    file = write(tmp_path, {**whole(), "backbone": "./name"})
    assert Path(config_module.read_config(file).run["backbone"]) == tmp_path / "name"


def test_a_kind_that_the_column_does_not_ask_for_needs_its_labels(run: Run, place: Path) -> None:
    code, _, err = run("train", "--config", write(place, head(kind="multilabel")))
    assert code == 1
    assert all(word in err for word in ("'job_type'", "multiclass", "multilabel", "labels"))
    code, _, err = run("train", "--config", write(place, {**whole(), "heads": {"pay": {"class_weights": "balanced"}}}))
    assert code == 1
    assert "'pay'" in err
    code, _, err = run("train", "--config", write(place, {**whole(), "heads": {"pay": {"labels": [1, 2]}}}))
    assert code == 1
    assert all(word in err for word in ("'pay'", "regression", "labels"))
    code, _, err = run("train", "--config", write(place, head(kind="multilabel", labels=["part", "full"])))
    assert code == 0, err
    assert mh.HeadedModel.from_pretrained(place / "model").heads["job_type"].spec == mh.MultiLabel(["part", "full"])


def test_a_head_may_read_another_one(run: Run, place: Path) -> None:
    heads = {"job_type": {}, "pay": {"output": "job_type", "layer": -2}}
    code, _, err = run("train", "--config", write(place, {**whole(), "heads": heads}))
    assert code == 0, err
    spec = mh.HeadedModel.from_pretrained(place / "model").heads["pay"].spec
    assert spec == mh.Regression(reads=[mh.Hidden(-2), mh.Output("job_type")])
    assert read(place / "model/run.toml")["heads"]["pay"]["output"] == "job_type"
    code, _, err = run("train", "--config", place / "model/run.toml", "--out", place / "again")
    assert code == 0, err
    assert_same_weights(place / "model", place / "again")


def test_a_head_that_reads_one_of_a_later_table_reports_it(run: Run, place: Path) -> None:
    heads = {"pay": {"output": "job_type"}, "job_type": {}}
    code, _, err = run("train", "--config", write(place, {**whole(), "heads": heads}))
    assert code == 1
    assert all(word in err for word in ("'job_type'", "add the one that is read first"))


def test_a_model_that_has_a_reading_head_trains_it_as_it_is(run: Run, place: Path) -> None:
    heads = {"job_type": {}, "pay": {"output": "job_type"}}
    assert run("train", "--config", write(place, {**whole(), "heads": heads}))[0] == 0
    again = {**whole(), "backbone": "model", "out": "other", "heads": {**heads, "job_type": {}}}
    code, _, err = run("train", "--config", write(place, again))
    assert code == 0, err
    code, _, err = run(
        "train", "--config", write(place, {**again, "out": "more", "heads": {"pay": {"output": "topics"}}})
    )
    assert code == 1
    assert all(word in err for word in ("'pay'", "another output"))


def test_auto_is_an_option_with_a_budget(run: Run, place: Path) -> None:
    arguments = (place / "ads.csv", "-b", place / "bert", "-t", "ad", "-H", "job_type", "-o", place / "model")
    code, out, err = run("train", *arguments, "--method", "auto", "--minutes", 2.5, "--change-lm", "--json")
    assert code == 0, err
    found = json.loads(out)["candidates"]
    assert [one["name"].partition("(")[0] for one in found if one["chosen"]] == ["Frozen"]
    assert all("are too few" in one["reason"] for one in found[1:])
    assert found[-1]["settings"]["method"] == "Full"
    assert read(place / "model/run.toml")["method"] == {"name": "auto", "minutes": 2.5, "keep_lm": False}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--minutes", 5), "--minutes belongs to --method auto, not to 'frozen'"),
        (("--method", "auto", "--minutes", 0), "Auto: minutes must be a finite number above 0, got 0.0"),
        (("--method", "auto", "--top", 2), "--top belongs to --method fork or full, not to 'auto'"),
    ],
)
def test_a_wrong_budget_is_one_line(run: Run, place: Path, more: tuple[object, ...], expected: str) -> None:
    arguments = (place / "ads.csv", "-b", place / "bert", "-t", "ad", "-H", "job_type", "-o", place / "model")
    code, _, err = run("train", *arguments, *more)
    assert code == 1
    assert expected in err
    assert len(err.strip().splitlines()) == 1


CHANGED = {
    "frozen": [Frozen(), Frozen(cache=None, dtype="float32", l2=0.5)],
    "fork": [Fork(), Fork(top=1, lr=0.1, patience=2), Fork(cache=None)],
    "auto": [Auto(), Auto(minutes=0.5), Auto(minutes=3, keep_lm=False)],
    "lora": [LoRA(), LoRA(r=4, alpha=8, targets=["query"], dropout=0.1)],
    "full": [
        Full(),
        Full(best_by={"a": 2.0}),
        Full(top=2, epochs=0.5, lm_weight=1.0, start="random"),
        Full(lm_weight=0.5, replay="/old/notes.csv"),
        Full(lm_weight=0.5, replay=["an old note"]),
    ],
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_read_as_it_was_written(name: str) -> None:
    assert "trainer" not in method_keys("here", name)
    for method in CHANGED[name]:
        table = tomllib.loads(tomli_w.dumps(write_method(method)))
        assert table["name"] == name
        assert build_method(read_method("here", table)) == method


HEADS: dict[str, list[Any]] = {
    "multiclass": [
        mh.Multiclass([0, 1]),
        mh.Multiclass(["0", "1"], column="x y", hidden=[3, 2], class_weights="balanced"),
        mh.Multiclass([1, 2], label_words={2: "two", 1: ["one", "a single"]}, init="lm_head"),
        mh.Multiclass(["a", "b"], reads=mh.LMLogits("mean", top_k=5, prompt="{text}\n?"), zero_shot=True),
        mh.Multiclass([True, False], reads=mh.Hidden(-2), class_weights=[1, 2], detach=True),
        mh.Multiclass([0.5, 'a "quoted"\nlabel\x7f'], reads=mh.Hidden(pool="pooler"), loss_weight=0.0, dropout=0.5),
    ],
    "multilabel": [mh.MultiLabel(["a"]), mh.MultiLabel([1, 2], reads=mh.Hidden("mix", "mean"), class_weights=[1, 3])],
    "ordinal": [
        mh.Ordinal(["low", "high"]),
        mh.Ordinal([3, 2, 1], class_weights=[1, 2, 3], label_smoothing=0.1),
        mh.Ordinal(["low", "high"], reads=[mh.Hidden(-2, "mean"), mh.Output("job_type")]),
    ],
    "regression": [mh.Regression(), mh.Regression(column="pay", hidden=[5], reads=mh.Hidden(pool="attention"))],
    "count": [mh.Count(), mh.Count(column="n", hidden=[5], loss_weight=0.5)],
    "tokens": [
        mh.Tokens(["drug"]),
        mh.Tokens([1, 2], scheme="plain", words="spaces", subword="mean", reads=mh.Hidden(-2), hidden=[4]),
        mh.Tokens(["a", "b"], class_weights=[1, 2, 3, 4, 5], label_smoothing=0.1),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_is_read_as_it_was_written(kind: str) -> None:
    for spec in HEADS[kind]:
        table = tomllib.loads(tomli_w.dumps(write_head(spec)))
        again = build_head("name", table, None)
        assert again == spec
        if spec.has_labels:
            assert [type(label) for label in again.labels] == [type(label) for label in spec.labels]
    named = replace(HEADS[kind][0], column="name")
    assert build_head("name", write_head(named), None).column is None


@dataclass(frozen=True)
class _Adapters:
    """A method's settings, of all shapes."""

    r: int = 16
    lr: float = 2e-4
    targets: str | Sequence[str] = "auto"
    folder: Path | None = None
    top: int | None = 2
    rates: Mapping[str, float] = field(default_factory=dict)
    trainer: transformers.TrainingArguments | None = None
    hooks: Sequence[Callable[[], None]] = ()


def test_fields_that_toml_cannot_hold_are_left_out() -> None:
    assert list(plain_fields(_Adapters)) == ["r", "lr", "targets", "folder", "top", "rates"]


def test_values_become_what_their_fields_are() -> None:
    table = {"lr": 1, "targets": ["q", "v"], "top": "none", "folder": "none", "rates": {"q": 1}}
    values = checked("here", table, plain_fields(_Adapters))
    assert values == {"lr": 1.0, "targets": ["q", "v"], "top": None, "folder": None, "rates": {"q": 1}}
    assert isinstance(values["lr"], float)
    for key, value in {"r": True, "lr": "1", "targets": [1], "top": 1.5, "rates": {"q": "x"}}.items():
        with pytest.raises(mh.errors.ConfigError, match=f"here: {key} must be"):
            checked("here", {key: value}, plain_fields(_Adapters))


def test_a_method_of_several_shapes_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "adapters", (__name__, "_Adapters"))
    written = write_method(_Adapters(targets=("q", "v"), folder=Path("/x"), top=None))  # type: ignore[arg-type]
    assert written == {
        "name": "adapters",
        "r": 16,
        "lr": 2e-4,
        "targets": ["q", "v"],
        "folder": "/x",
        "top": "none",
        "rates": {},
    }


@pytest.mark.skipif(os.name == "nt", reason="paths there are text")
def test_a_path_that_is_not_a_text_is_rejected() -> None:
    run = config_module.Run(data="\udce9.csv", backbone="x/y", text="ad", out="out")
    with pytest.raises(mh.errors.ConfigError, match=r"UTF-8.*run\.toml|run\.toml.*UTF-8"):
        config_module.write_config(run, {}, {})
