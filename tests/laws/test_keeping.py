"""L19, L20, L21, and the saving half of L22: what was saved comes back, exactly, or is rejected by name."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import manyheads as mh
from manyheads.checkpoint.format import HEADS_JSON, HEADS_WEIGHTS, checksum
from manyheads.runtime.hashes import file_digest
from manyheads.taps import write_tap
from tests.families import BY_NAME, FAMILIES, tokenizer_for

Saved = Callable[[str], Path]
TYPED_LABELS = [0, "0", 1.5, True]
HEADS = {
    "urgency": lambda: mh.Multiclass(labels=TYPED_LABELS),
    "topics": lambda: mh.MultiLabel(labels=["pain", "fever"], hidden=[8], class_weights=[1.0, 2.0], column="tags"),
    "hours": lambda: mh.Regression(reads=[mh.Hidden(layer=-2, pool="max"), mh.Hidden(pool="attention")], detach=True),
    "ward": lambda: mh.Multiclass(labels=[10, 20], reads=mh.Hidden(layer="mix", pool="mean"), loss_weight=0.5),
    "level": lambda: mh.Ordinal(labels=["low", 1, "high"], class_weights=[1.0, 2.0, 0.5], label_smoothing=0.1),
    "after": lambda: mh.MultiLabel(labels=["a", "b"], reads=[mh.Output("hours"), mh.Output("level"), mh.Hidden()]),
    "alone": lambda: mh.Regression(reads=mh.Output("after")),
    "drugs": lambda: mh.Tokens(labels=[7, "dose"], reads=mh.Hidden(layer=-2), subword="mean", words="spaces"),
}


def fill(model: mh.HeadedModel, seed: int = 1) -> mh.HeadedModel:
    """Give every head weights of its own, far from where they started."""
    generator = torch.Generator().manual_seed(seed)
    for head in model.heads.values():
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def headed(folder: Path, heads: dict[str, Callable[[], object]] = HEADS, seed: int = 1) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(folder)
    for name, make in heads.items():
        model.add_head(name, make())
    return fill(model, seed)


def batch() -> dict[str, Tensor]:
    """Two rows, one of them padded; ids that every family knows."""
    ids = torch.tensor([[9, 20, 31, 42, 53, 12], [17, 28, 39, 7, 7, 7]])
    return {"input_ids": ids, "attention_mask": torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0]])}


def logits(model: mh.HeadedModel) -> dict[str, Tensor]:
    with torch.no_grad():
        return dict(model(**batch()).logits)


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def tensors(model: mh.HeadedModel, name: str) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in model.heads[name].state_dict().items()}


def sizes(model: mh.HeadedModel) -> dict[str, int]:
    parts = {"backbone": model.backbone, **model.heads}
    return {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}


# --- L19: round trip ------------------------------------------------------------------------------

FRESH_PROCESS = """
import json, sys
import torch
import manyheads as mh
from tests.laws.test_keeping import logits, sizes

told = {}
for folder in sys.argv[2:]:
    model = mh.HeadedModel.from_pretrained(folder)
    told[folder] = {
        "logits": {name: [list(values.shape), values.numpy().tobytes().hex()]
                   for name, values in logits(model).items()},
        "sizes": sizes(model),
        "labels": {name: [[type(label).__name__, label] for label in getattr(head.spec, "labels", [])]
                   for name, head in model.heads.items()},
        "trained": {name: head.trained for name, head in model.heads.items()},
        "training": any(module.training for module in model.modules()),
        "backbone": type(model.backbone).__name__,
    }
open(sys.argv[1], "w").write(json.dumps(told))
"""


@pytest.fixture(scope="module")
def kept(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[mh.HeadedModel, dict]]:
    """Every family: the model that was saved, and what one fresh process shows of what it loads."""
    root = tmp_path_factory.mktemp("kept")
    models = {family.name: headed(saved(family.name)) for family in FAMILIES}
    # And one that never came from files.
    wrapped = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(seed=5), tokenizer_for(BY_NAME["gpt2"]))
    for name, make in HEADS.items():
        wrapped.add_head(name, make())
    models["wrapped"] = fill(wrapped)
    for name, model in models.items():
        model.heads["topics"].trained = True
        model.save_pretrained(root / name)
    command = [sys.executable, "-W", "error", "-c", FRESH_PROCESS, str(root / "told.json")]
    subprocess.run([*command, *(str(root / name) for name in models)], check=True, cwd=Path(__file__).parents[2])
    told = json.loads((root / "told.json").read_text())
    return {name: (model, told[str(root / name)]) for name, model in models.items()}


@pytest.mark.parametrize("family", [*(family.name for family in FAMILIES), "wrapped"])
def test_l19_a_fresh_process_gets_the_same_model_without_naming_a_class(kept: dict, family: str) -> None:
    model, told = kept[family]
    for name, values in logits(model).items():
        shape, data = told["logits"][name]
        found = torch.from_numpy(np.frombuffer(bytes.fromhex(data), np.float32).reshape(shape).copy())
        assert torch.equal(found, values), name
    assert list(told["logits"]) == list(HEADS)
    assert told["sizes"] == sizes(model)
    assert told["labels"]["urgency"] == [[type(label).__name__, label] for label in TYPED_LABELS]
    assert told["labels"]["ward"] == [["int", 10], ["int", 20]]
    assert told["labels"]["level"] == [["str", "low"], ["int", 1], ["str", "high"]]
    assert told["labels"]["drugs"] == [["int", 7], ["str", "dose"]]
    assert told["trained"] == {name: name == "topics" for name in HEADS}
    assert told["training"] is False
    assert told["backbone"] == type(model.backbone).__name__


def test_l19_specs_come_back_equal(saved: Saved, tmp_path: Path) -> None:
    model = headed(saved("bert"))
    model.save_pretrained(tmp_path / "out")
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "out")
    for name, head in model.heads.items():
        assert loaded.heads[name].spec == head.spec
        assert loaded.heads[name].taps == head.taps
    torch.testing.assert_close(loaded.heads["topics"].class_weights, torch.tensor([1.0, 2.0]))


def test_l19_saving_again_over_what_it_was_loaded_from(saved: Saved, tmp_path: Path) -> None:
    headed(saved("bert")).save_pretrained(tmp_path / "out")
    model = mh.HeadedModel.from_pretrained(tmp_path / "out")
    for seed in (2, 3):
        fill(model, seed).save_pretrained(tmp_path / "out", overwrite=True)
        assert_same_bits(logits(mh.HeadedModel.from_pretrained(tmp_path / "out")), logits(model))


def test_l19_saving_twice_in_a_row_gives_the_same_bytes(saved: Saved, tmp_path: Path) -> None:
    model = headed(saved("gpt2"))
    for name in ("first", "second"):
        model.save_pretrained(tmp_path / name)
    for path in sorted((tmp_path / "first").iterdir()):
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_l19_a_model_without_heads_is_kept_too(saved: Saved, tmp_path: Path) -> None:
    mh.HeadedModel.from_pretrained(saved("gpt2")).save_pretrained(tmp_path / "out")
    assert list(mh.HeadedModel.from_pretrained(tmp_path / "out").heads) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_l19_a_backbone_loaded_in_half_precision_keeps_its_files(
    saved: Saved, tmp_path: Path, dtype: torch.dtype
) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"), dtype=dtype)
    model.add_head("hours", mh.Regression())
    model.save_pretrained(tmp_path / "out")
    assert file_digest(tmp_path / "out" / "model.safetensors") == file_digest(saved("bert") / "model.safetensors")
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "out", dtype=dtype)
    assert_same_bits(logits(loaded), logits(model))


def test_l19_a_changed_backbone_is_written_anew(saved: Saved, tmp_path: Path) -> None:
    model = headed(saved("gpt2"))
    with torch.no_grad():
        model.backbone.transformer.h[0].mlp.c_fc.weight.add_(0.5)
    model.save_pretrained(tmp_path / "out")
    assert_same_bits(logits(mh.HeadedModel.from_pretrained(tmp_path / "out")), logits(model))
    assert (tmp_path / "out" / "config.json").read_bytes() == (saved("gpt2") / "config.json").read_bytes()


# --- L20: exact names -----------------------------------------------------------------------------

NAMES = ["job", "job2", "type", "train", "lm_head", "forward"]
IDENTIFIERS = [
    "parameters", "training", "_modules", "keys", "pop", "weight", "bias", "output", "head_job", "head", "heads",
    "backbone", "self", "class", "None", "__class__", "__init__", "_", "größe", "名前", "model", "x" * 200,
]  # fmt: skip


def job_model(saved: Saved, seed: int) -> mh.HeadedModel:
    return headed(saved("bert"), dict.fromkeys(NAMES, lambda: mh.Multiclass(labels=["a", "b"], hidden=[4])), seed)


@pytest.mark.parametrize("name", NAMES)
def test_l20_one_head_goes_and_comes_and_touches_no_other(saved: Saved, tmp_path: Path, name: str) -> None:
    donor, receiver = job_model(saved, 1), job_model(saved, 2)
    before = {other: tensors(receiver, other) for other in NAMES}
    donor.save_head(name, tmp_path / "head")
    assert {key.split(".")[0] for key in load_file(tmp_path / "head" / HEADS_WEIGHTS)} == {name}

    receiver.remove_head(name)
    assert list(receiver.heads) == [other for other in NAMES if other != name]
    receiver.load_head(tmp_path / "head")

    assert_same_bits(tensors(receiver, name), tensors(donor, name))
    for other in NAMES:
        if other != name:
            assert_same_bits(tensors(receiver, other), before[other])


def test_l20_all_names_in_one_checkpoint(saved: Saved, tmp_path: Path) -> None:
    names = [*NAMES, *IDENTIFIERS]
    assert all(name.isidentifier() for name in names)
    model = headed(saved("bert"), dict.fromkeys(names, lambda: mh.Regression()))
    model.save_pretrained(tmp_path / "out")
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "out")
    assert list(loaded.heads) == names
    for name in names:
        assert name in model.heads
        assert_same_bits(tensors(loaded, name), tensors(model, name))
    assert_same_bits(logits(loaded), logits(model))
    for name in names:
        model.remove_head(name)
    assert list(model.heads) == []
    assert not any(key.startswith("core.heads") for key in model.state_dict())


def test_l20_a_head_may_have_another_name_here(saved: Saved, tmp_path: Path) -> None:
    model = job_model(saved, 1)
    model.save_head("job", tmp_path / "job")
    loaded = model.load_head(tmp_path / "job", name="urgency2")
    assert loaded is model.heads["urgency2"]
    assert_same_bits(tensors(model, "urgency2"), tensors(model, "job"))
    with torch.no_grad():
        loaded.output.bias.add_(1.0)
    assert not torch.equal(loaded.output.bias, model.heads["job"].output.bias)


def test_l20_one_head_of_many(saved: Saved, tmp_path: Path) -> None:
    donor = job_model(saved, 1)
    donor.save_pretrained(tmp_path / "all")
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    with pytest.raises(mh.errors.UnknownHeadError, match="'job', 'job2'"):
        model.load_head(tmp_path / "all")
    model.load_head(tmp_path / "all", head="job2")
    assert list(model.heads) == ["job2"]
    assert_same_bits(tensors(model, "job2"), tensors(donor, "job2"))


@pytest.mark.parametrize("name", ["a.b", "a/b", "a\\b", "../a", "", "lm", "job", ".", " job", "job\n"])
def test_l20_names_that_no_head_may_have(saved: Saved, tmp_path: Path, name: str) -> None:
    model = job_model(saved, 1)
    before = {other: tensors(model, other) for other in NAMES}
    model.save_head("job2", tmp_path / "job2")
    with pytest.raises(mh.errors.HeadNameError):
        model.add_head(name, mh.Regression())
    with pytest.raises(mh.errors.HeadNameError):
        model.load_head(tmp_path / "job2", name=name)
    assert list(model.heads) == NAMES
    for other in NAMES:
        assert_same_bits(tensors(model, other), before[other])


@pytest.mark.parametrize("act", ["remove_head", "save_head"])
def test_l20_a_head_that_is_not_there(saved: Saved, tmp_path: Path, act: str) -> None:
    model = job_model(saved, 1)
    arguments = ("jobb", tmp_path / "out") if act == "save_head" else ("jobb",)
    with pytest.raises(mh.errors.UnknownHeadError, match="did you mean 'job'"):
        getattr(model, act)(*arguments)
    assert not (tmp_path / "out").exists()


# --- L21: nothing random --------------------------------------------------------------------------


def rewrite_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights and correct the checksum, so that only an audit of the contents can object."""
    stored = load_file(folder / HEADS_WEIGHTS)
    change(stored)
    save_file(stored, folder / HEADS_WEIGHTS)
    rewrite_json(folder, lambda record: record.update(weights=file_digest(folder / HEADS_WEIGHTS)))


def rewrite_json(folder: Path, change: Callable[[dict], object]) -> None:
    """Change ``heads.json``, with the checksum of a file that was written so."""
    record = json.loads((folder / HEADS_JSON).read_text())
    change(record)
    write_signed(folder, record)


def write_signed(folder: Path, record: dict) -> None:
    """Write ``heads.json`` with the checksum of what it contains."""
    (folder / HEADS_JSON).write_text(json.dumps({**record, "checksum": checksum(record)}))


def replace_weights(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / HEADS_WEIGHTS).write_bytes(content)


def flip_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)


def put(key: str, value: float) -> Callable[[Path], None]:
    return lambda folder: rewrite_weights(folder, lambda stored: stored[key].view(-1)[0].fill_(value))


def say(*path: str, value: object) -> Callable[[Path], None]:
    """Return a change of one entry of ``heads.json``."""

    def change(record: dict) -> None:
        for key in path[:-1]:
            record = record[key]
        record[path[-1]] = value

    return lambda folder: rewrite_json(folder, change)


def forge(folder: Path) -> None:
    """Declare a head's new shape in both files; only its spec still shows what it was."""
    rewrite_weights(folder, lambda stored: stored.update({"job.output.weight": torch.zeros(5, 32)}))
    say("heads", "job", "tensors", "output.weight", value=[5, 32])(folder)


def rename_head(new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rewrite_json(folder, lambda record: record["heads"].update({new: record["heads"].pop("job")}))
        rewrite_weights(
            folder,
            lambda stored: stored.update(
                {f"{new}.{key[4:]}": stored.pop(key) for key in sorted(stored) if key.startswith("job.")}
            ),
        )

    return change


Corrupt = mh.errors.CorruptCheckpointError
BROKEN: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "weights missing": (lambda folder: (folder / HEADS_WEIGHTS).unlink(), (HEADS_WEIGHTS,)),
    "weights empty": (replace_weights(b""), (HEADS_WEIGHTS,)),
    "weights truncated": (
        lambda folder: os.truncate(folder / HEADS_WEIGHTS, (folder / HEADS_WEIGHTS).stat().st_size - 4),
        (HEADS_WEIGHTS,),
    ),
    "weights, first byte flipped": (lambda folder: flip_byte(folder / HEADS_WEIGHTS, 0), (HEADS_WEIGHTS,)),
    "weights, last byte flipped": (lambda folder: flip_byte(folder / HEADS_WEIGHTS, -1), (HEADS_WEIGHTS,)),
    "weights are a pickle": (replace_weights(b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00}\x94."), (HEADS_WEIGHTS,)),
    "weights of a head removed": (
        lambda folder: rewrite_weights(
            folder, lambda stored: [stored.pop(key) for key in list(stored) if key.startswith("job.")]
        ),
        (HEADS_WEIGHTS, "'job'"),
    ),
    "one weight removed": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.pop("job.output.bias")),
        (HEADS_WEIGHTS, "'job'", "output.bias"),
    ),
    "weights of an undeclared head": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.update({"spy.output.bias": torch.zeros(2)})),
        (HEADS_WEIGHTS, "'spy'"),
    ),
    "a weight of no head": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.update({"loose": torch.zeros(2)})),
        (HEADS_WEIGHTS, "loose"),
    ),
    "one weight too many": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.update({"job.spy": torch.zeros(2)})),
        (HEADS_WEIGHTS, "'job'", "spy"),
    ),
    "wrong shape": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.update({"job.output.bias": torch.zeros(3)})),
        (HEADS_WEIGHTS, "'job'", "output.bias"),
    ),
    "wrong shape, transposed": (
        lambda folder: rewrite_weights(
            folder, lambda stored: stored.update({"job.output.weight": stored["job.output.weight"].T.contiguous()})
        ),
        (HEADS_WEIGHTS, "'job'", "output.weight"),
    ),
    "wrong dtype": (
        lambda folder: rewrite_weights(
            folder, lambda stored: stored.update({"job.output.bias": torch.zeros(2).half()})
        ),
        (HEADS_WEIGHTS, "'job'", "output.bias"),
    ),
    "wrong shape, in both files": (forge, (HEADS_JSON, "'job'")),
    "a NaN": (put("job.output.weight", float("nan")), (HEADS_WEIGHTS, "'job'", "output.weight")),
    "an infinity": (put("job.output.bias", float("inf")), (HEADS_WEIGHTS, "'job'", "output.bias")),
    "heads.json removed, weights left": (lambda folder: (folder / HEADS_JSON).unlink(), (HEADS_JSON,)),
    "heads.json empty": (lambda folder: (folder / HEADS_JSON).write_text(""), (HEADS_JSON,)),
    "heads.json truncated": (
        lambda folder: os.truncate(folder / HEADS_JSON, (folder / HEADS_JSON).stat().st_size // 2),
        (HEADS_JSON,),
    ),
    "heads.json is not text": (lambda folder: (folder / HEADS_JSON).write_bytes(b"\xff\xfe{"), (HEADS_JSON,)),
    "heads.json is a list": (lambda folder: (folder / HEADS_JSON).write_text("[]"), (HEADS_JSON,)),
    "heads.json nested without end": (lambda folder: (folder / HEADS_JSON).write_text("[" * 100_000), (HEADS_JSON,)),
    "an unknown protocol": (say("protocol", value=99), (HEADS_JSON, "protocol 99", "update manyheads")),
    "a protocol that no release wrote": (say("protocol", value=2), (HEADS_JSON, "protocol 2", "update manyheads")),
    "a protocol that is no number": (say("protocol", value="1"), (HEADS_JSON, "protocol '1'")),
    "an unknown key": (say("class", value="os.system"), (HEADS_JSON, "'class'")),
    "an unknown key of a head": (say("heads", "job", "module", value="os.system"), (HEADS_JSON, "'job'", "'module'")),
    "an unknown key of a spec": (say("heads", "job", "spec", "eval", value="1"), (HEADS_JSON, "'job'", "'eval'")),
    "a key too few": (
        lambda folder: rewrite_json(folder, lambda record: record.pop("backbone")),
        (HEADS_JSON, "'backbone'"),
    ),
    "an unknown head kind": (say("heads", "job", "spec", "kind", value="spy"), (HEADS_JSON, "'job'", "'spy'")),
    "an unknown tap": (
        say("heads", "job", "taps", value=[{"tap": "file", "path": "/etc/passwd"}]),
        (HEADS_JSON, "'job'", "'file'"),
    ),
    "a tap of another backbone": (
        say("heads", "job", "taps", value=[write_tap(mh.Hidden(-40, "mean"))]),
        (HEADS_JSON, "'job'", "-40"),
    ),
    "a setting out of its range": (say("heads", "job", "spec", "dropout", value=7.0), (HEADS_JSON, "'job'", "dropout")),
    "a setting of another type": (say("heads", "job", "spec", "dropout", value="much"), (HEADS_JSON, "'job'")),
    "labels that occur twice": (say("heads", "job", "spec", "labels", value=["a", "a"]), (HEADS_JSON, "'job'")),
    "a label too many": (say("heads", "job", "spec", "labels", value=["a", "b", "c"]), (HEADS_JSON, "'job'")),
    "labels that are no list": (say("heads", "job", "spec", "labels", value="ab"), (HEADS_JSON, "'job'")),
    "class weights of another length": (say("heads", "job", "class_weights", value=[1.0]), (HEADS_JSON, "'job'")),
    "class weights that are no numbers": (
        say("heads", "job", "class_weights", value=[float("nan"), 1.0]),
        (HEADS_JSON, "'job'"),
    ),
    "thresholds of a head that has none": (
        say("heads", "job", "decision", "thresholds", value=[0.5, 0.5]),
        (HEADS_JSON, "'job'", "thresholds"),
    ),
    "a temperature of zero": (say("heads", "job", "decision", "temperature", value=0), (HEADS_JSON, "'job'", "temper")),
    "costs of other labels": (say("heads", "job", "decision", "costs", value=[[1.0]]), (HEADS_JSON, "'job'", "costs")),
    "an unknown key of a decision": (
        say("heads", "job", "decision", "spy", value=1),
        (HEADS_JSON, "'job'", "'spy'"),
    ),
    "a head named outside the folder": (rename_head("../../spy"), (HEADS_JSON, "'../../spy'")),
    "a head of the reserved name": (rename_head("lm"), (HEADS_JSON, "'lm'")),
    "an unknown kind of backbone": (say("backbone", "kind", value="pickle"), (HEADS_JSON, "'pickle'")),
    "a size beyond any memory": (say("heads", "job", "spec", "hidden", value=[10**15]), (HEADS_JSON, "'job'")),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One saved model with the heads job and job2, never to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    heads = dict.fromkeys(["job", "job2"], lambda: mh.Multiclass(labels=["a", "b"]))
    headed(saved("bert"), heads).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(whole: Path) -> mh.HeadedModel:
    """It, loaded."""
    return mh.HeadedModel.from_pretrained(whole)


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def assert_rejected(expected: type[Exception], words: tuple[str, ...], act: Callable[[], object]) -> None:
    with pytest.raises(expected) as caught:
        act()
    message = str(caught.value)
    assert isinstance(caught.value, mh.ManyheadsError)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(("breaking", "words"), BROKEN.values(), ids=BROKEN)
def test_l21_a_broken_checkpoint_is_rejected_by_name(broken: Path, breaking: Callable, words: tuple[str, ...]) -> None:
    breaking(broken)
    assert_rejected(Corrupt, words, lambda: mh.HeadedModel.from_pretrained(broken))


@pytest.mark.parametrize(("breaking", "words"), BROKEN.values(), ids=BROKEN)
def test_l21_load_head_rejects_it_too_and_attaches_nothing(
    loaded: mh.HeadedModel, broken: Path, breaking: Callable, words: tuple[str, ...]
) -> None:
    breaking(broken)
    name = f"new{len(loaded.heads)}"
    before = logits(loaded)
    assert_rejected(mh.errors.CheckpointError, (), lambda: loaded.load_head(broken, name=name, head="job"))
    assert_same_bits(logits(loaded), before)


def test_l21_the_unbroken_copy_loads(broken: Path) -> None:
    rewrite_weights(broken, lambda stored: None)
    assert list(mh.HeadedModel.from_pretrained(broken).heads) == ["job", "job2"]


def test_l21_no_pickle_is_ever_read(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"job.output.bias": torch.zeros(2)}, broken / HEADS_WEIGHTS)
    rewrite_json(broken, lambda record: record.update(weights=file_digest(broken / HEADS_WEIGHTS)))
    for reader in ("pickle.load", "pickle.loads", "torch.load"):
        monkeypatch.setattr(reader, lambda *_, **__: pytest.fail("a pickle was opened"))
    assert_rejected(Corrupt, (HEADS_WEIGHTS,), lambda: mh.HeadedModel.from_pretrained(broken))


def test_l21_any_flipped_byte_of_the_weights_is_seen(broken: Path) -> None:
    content = (broken / HEADS_WEIGHTS).read_bytes()
    for place in np.random.default_rng(0).integers(len(content), size=40):
        (broken / HEADS_WEIGHTS).write_bytes(content)
        flip_byte(broken / HEADS_WEIGHTS, int(place))
        assert_rejected(Corrupt, (HEADS_WEIGHTS,), lambda: mh.HeadedModel.from_pretrained(broken))


def test_l21_a_backbone_without_its_config(broken: Path) -> None:
    (broken / "config.json").unlink()
    assert_rejected(mh.ManyheadsError, ("config.json",), lambda: mh.HeadedModel.from_pretrained(broken))


def test_l21_a_backbone_whose_config_is_no_json(broken: Path) -> None:
    (broken / "config.json").write_text("{")
    assert_rejected(mh.ManyheadsError, ("config.json",), lambda: mh.HeadedModel.from_pretrained(broken))


def test_l21_a_backbone_without_its_weights(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    assert_rejected(mh.ManyheadsError, (str(broken),), lambda: mh.HeadedModel.from_pretrained(broken))


def test_l21_a_flipped_byte_of_the_backbone(broken: Path) -> None:
    flip_byte(broken / "model.safetensors", -1)
    assert_rejected(mh.errors.WrongBackboneError, (str(broken),), lambda: mh.HeadedModel.from_pretrained(broken))


def test_l21_heads_beside_another_backbone(broken: Path, saved: Saved) -> None:
    for name in (HEADS_JSON, HEADS_WEIGHTS):
        (broken / name).unlink()
    headed(saved("roberta"), {"job": mh.Regression}).save_head("job", broken / "head")
    for name in (HEADS_JSON, HEADS_WEIGHTS):
        shutil.copy(broken / "head" / name, broken / name)
    say("backbone", "kind", value="full")(broken)
    assert_rejected(mh.errors.WrongBackboneError, (str(broken),), lambda: mh.HeadedModel.from_pretrained(broken))


@pytest.mark.parametrize("other", ["roberta", "bert with other weights"])
def test_l21_load_head_rejects_another_backbones_heads(whole: Path, saved: Saved, tmp_path: Path, other: str) -> None:
    if other == "roberta":
        model = mh.HeadedModel.from_pretrained(saved("roberta"))
    else:
        model = mh.HeadedModel.wrap(BY_NAME["bert"].build(seed=9), tokenizer_for(BY_NAME["bert"]))
    mh.HeadedModel.from_pretrained(whole).save_head("job", tmp_path / "job")
    for folder in (whole, tmp_path / "job"):
        assert_rejected(
            mh.errors.WrongBackboneError,
            (str(folder), "'job'", "BertForMaskedLM"),
            lambda folder=folder: model.load_head(folder, head="job"),
        )
    assert list(model.heads) == []


def test_l21_load_head_rejects_a_backbone_that_was_tuned_since(whole: Path, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(whole)
    model.save_head("job", tmp_path / "job")
    with torch.no_grad():
        next(model.backbone.parameters()).view(-1)[0] += 0.01
    assert_rejected(mh.errors.WrongBackboneError, ("'job'",), lambda: model.load_head(tmp_path / "job", name="again"))


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_l21_load_head_from_a_folder_without_heads(whole: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    model = mh.HeadedModel.from_pretrained(whole)
    assert_rejected(mh.errors.NotACheckpointError, (folder,), lambda: model.load_head(tmp_path / folder, name="new"))


# --- reference saves ------------------------------------------------------------------------------


@pytest.fixture
def referring(saved: Saved, tmp_path: Path) -> tuple[mh.HeadedModel, Path, Path]:
    """A model, the folder of its own backbone, and where it was saved as a reference to that."""
    home = Path(shutil.copytree(saved("bert"), tmp_path / "home"))
    model = headed(home)
    model.save_pretrained(tmp_path / "reference", backbone="reference")
    return model, home, tmp_path / "reference"


def test_l19_a_reference_is_small_and_loads(referring: tuple[mh.HeadedModel, Path, Path]) -> None:
    model, home, folder = referring
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < 20_000 < (home / "model.safetensors").stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", HEADS_JSON, HEADS_WEIGHTS]
    assert_same_bits(logits(mh.HeadedModel.from_pretrained(folder)), logits(model))


def test_l19_a_reference_saved_as_a_reference_again(referring: tuple[mh.HeadedModel, Path, Path]) -> None:
    model, _, folder = referring
    mh.HeadedModel.from_pretrained(folder).save_pretrained(folder.parent / "again", backbone="reference")
    assert_same_bits(logits(mh.HeadedModel.from_pretrained(folder.parent / "again")), logits(model))


def test_l19_a_backbone_that_moved_is_named(referring: tuple[mh.HeadedModel, Path, Path]) -> None:
    model, home, folder = referring
    expected = logits(model)
    home.rename(home.with_name("moved"))
    assert_rejected(mh.ManyheadsError, (str(home), "backbone="), lambda: mh.HeadedModel.from_pretrained(folder))
    moved = mh.HeadedModel.from_pretrained(folder, backbone=home.with_name("moved"))
    assert_same_bits(logits(moved), expected)
    assert moved.tokenizer("mild cough")["input_ids"]


@pytest.mark.parametrize("how", ["by name", "in its place"])
def test_l21_a_reference_rejects_another_backbone(
    referring: tuple[mh.HeadedModel, Path, Path], saved: Saved, how: str
) -> None:
    _, home, folder = referring
    if how == "in its place":
        shutil.rmtree(home)
        shutil.copytree(saved("electra"), home)
    other = saved("electra") if how == "by name" else None
    assert_rejected(
        mh.errors.WrongBackboneError,
        (str(folder), "BertForMaskedLM"),
        lambda: mh.HeadedModel.from_pretrained(folder, backbone=other),
    )


def test_l21_a_reference_needs_files_that_hold_the_backbone(saved: Saved, tmp_path: Path) -> None:
    tuned = headed(saved("gpt2"))
    with torch.no_grad():
        next(tuned.backbone.parameters()).add_(0.1)
    wrapped = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer_for(BY_NAME["gpt2"]))
    for model in (tuned, wrapped):
        assert_rejected(
            mh.errors.CheckpointError,
            ("GPT2LMHeadModel",),
            lambda model=model: model.save_pretrained(tmp_path / "out", backbone="reference"),
        )
    assert list(tmp_path.iterdir()) == []


def test_l21_backbone_is_rejected_where_the_folder_brings_its_own(whole: Path, saved: Saved) -> None:
    for folder in (whole, saved("bert")):
        assert_rejected(
            mh.errors.CheckpointError,
            (str(folder), "backbone="),
            lambda folder=folder: mh.HeadedModel.from_pretrained(folder, backbone=saved("bert")),
        )


def test_l21_an_unknown_way_to_keep_the_backbone(whole: Path, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(whole)
    for kind in ("referense", "heads", None):
        assert_rejected(
            mh.errors.CheckpointError,
            (repr(kind),),
            lambda kind=kind: model.save_pretrained(tmp_path / "out", backbone=kind),
        )
    assert list(tmp_path.iterdir()) == []


# --- L22: saving is atomic ------------------------------------------------------------------------


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", ["a model", "a stranger's file", "a file"])
def test_l22_what_exists_is_not_touched(saved: Saved, tmp_path: Path, kind: str) -> None:
    model, target = headed(saved("bert")), tmp_path / "out"
    if kind == "a model":
        model.save_pretrained(target)
    elif kind == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "thesis.txt").write_text("mine")
    before = listing(target) if target.is_dir() else target.read_text()
    saves = (model.save_pretrained, lambda place: model.save_head("urgency", place))
    for save in saves:
        assert_rejected(mh.errors.OutputExistsError, (str(target),), lambda save=save: save(target))
    assert (listing(target) if target.is_dir() else target.read_text()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_l22_an_empty_folder_is_free(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    headed(saved("bert")).save_pretrained(tmp_path / "out")
    assert list(mh.HeadedModel.from_pretrained(tmp_path / "out").heads) == list(HEADS)


def test_l22_the_working_folder_is_a_folder_like_any_other(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    headed(saved("bert")).save_pretrained(".")
    assert list(mh.HeadedModel.from_pretrained(tmp_path / "out").heads) == list(HEADS)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_l22_overwrite_replaces_every_file_of_the_old_model(saved: Saved, tmp_path: Path) -> None:
    headed(saved("gpt2")).save_pretrained(tmp_path / "out")
    old = set(listing(tmp_path / "out"))
    model = headed(saved("bert"), seed=2)
    model.save_pretrained(tmp_path / "out", overwrite=True)
    model.save_pretrained(tmp_path / "new")
    assert_same_bits(logits(mh.HeadedModel.from_pretrained(tmp_path / "out")), logits(model))
    assert listing(tmp_path / "out") == listing(tmp_path / "new")
    assert old - set(listing(tmp_path / "new")), "both models have files of the same names"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out"]


class Crash(BaseException):
    """Not an Exception: nothing may swallow it."""


@pytest.mark.parametrize("failure", [Crash(), OSError(errno.ENOSPC, "no space left")], ids=["crash", "disk full"])
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("kind", ["full", "reference"])
def test_l22_a_save_that_fails_at_any_step_leaves_old_or_new(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, overwrite: bool, failure: BaseException
) -> None:
    old, new = headed(saved("bert"), seed=1), headed(saved("bert"), seed=2)
    states = {"old": logits(old), "new": logits(new)}
    seen = []
    for failing_step in range(100):
        place = tmp_path / str(failing_step)
        place.mkdir()
        if overwrite:
            old.save_pretrained(place / "out")
        steps = 0

        def stepped(real: Callable, failing_step: int = failing_step) -> Callable:
            def call(*arguments: object, **keywords: object) -> object:
                nonlocal steps
                steps += 1
                if steps == failing_step + 1:
                    raise failure
                return real(*arguments, **keywords)

            return call

        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "fsync"):
                patch.setattr(os, name, stepped(getattr(os, name)))
            with contextlib.suppress(Crash, mh.errors.CheckpointError):
                new.save_pretrained(place / "out", backbone=kind, overwrite=overwrite)
        if steps <= failing_step:
            break
        assert [path.name for path in place.iterdir()] in (["out"], ["out"] if overwrite else [])
        seen.append(state_at(place / "out", states))
        # The place is not spoiled: the same save, not failing, succeeds.
        new.save_pretrained(place / "out", backbone=kind, overwrite=True)
        assert state_at(place / "out", states) == "new"
        assert [path.name for path in place.iterdir()] == ["out"]
    assert len(seen) >= 4
    assert seen[0] == ("old" if overwrite else "nothing")
    assert set(seen) <= {"old" if overwrite else "nothing", "new"}


def state_at(folder: Path, states: dict[str, dict[str, Tensor]]) -> str:
    """Return which of the states lies in a folder, ``"nothing"`` if the folder is not there or empty."""
    try:
        found = logits(mh.HeadedModel.from_pretrained(folder))
    except mh.errors.UnknownBackboneError:
        return "nothing" if not folder.exists() or not any(folder.iterdir()) else "a part"
    matching = [name for name, state in states.items() if all(torch.equal(found[head], state[head]) for head in state)]
    return matching[0] if matching else "a mixture"


KILLED = '''
import json, os, shutil, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.laws.test_keeping import headed, listing, logits, state_at

source, place = Path(sys.argv[1]), Path(sys.argv[2])
models = {"old": headed(source, seed=1), "new": headed(source, seed=2)}
states = {name: logits(model) for name, model in models.items()}
for name, model in models.items():
    model.save_pretrained(place / name)
steps_of = ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir")


def save_and_die(target, step):
    def dying(call):
        def run(*arguments, **keywords):
            nonlocal step
            if step == 0:
                os._exit(9)
            step -= 1
            return call(*arguments, **keywords)
        return run
    for name in steps_of:
        setattr(os, name, dying(getattr(os, name)))
    models["new"].save_pretrained(target, overwrite=True)
    os._exit(0)


def killed(overwrite, step):
    """Kill a save at that step, and tell what lies there, whether the next save works, and what is left beside it."""
    target = place / f"{overwrite} {step}" / "out"
    target.parent.mkdir()
    if overwrite:
        shutil.copytree(place / "old", target)
    child = os.fork()
    if child == 0:
        save_and_die(target, step)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), status
    state = state_at(target, states)
    models["new"].save_pretrained(target, overwrite=True)
    repaired = listing(target) == listing(place / "new")
    return status == 0, [state, repaired, sorted(path.name for path in target.parent.iterdir())]


told = {}
for overwrite in (False, True):
    done, step, told[str(overwrite)] = False, 0, []
    while not done:
        done, row = killed(overwrite, step)
        told[str(overwrite)].append(row)
        step += 1
(place / "told.json").write_text(json.dumps(told))
'''


@pytest.fixture(scope="module")
def killed(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """What a save killed at each of its steps left, in turn."""
    place = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", KILLED, str(saved("bert")), str(place)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    return json.loads((place / "told.json").read_text())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_l22_a_process_killed_at_any_step_leaves_old_or_new(killed: dict[str, list], overwrite: bool) -> None:
    rows = killed[str(overwrite)]
    assert len(rows) > 10
    assert {state for state, _, _ in rows} == {"old" if overwrite else "nothing", "new"}
    assert all(repaired for _, repaired, _ in rows), "the place was spoiled for the next save"
    assert all(left == ["out"] for _, _, left in rows), "something is left beside it for ever"
