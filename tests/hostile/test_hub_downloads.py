"""Repositories of the hub that contain more than a model, or something else."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

import manyheads as mh
from manyheads.checkpoint.format import checksum
from tests.families import BY_NAME, save_family
from tests.hub_server import Hub, running_hub, use_hub

Saved = Callable[[str], Path]
Files = dict[str, bytes]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as hub:
        use_hub(hub, tmp_path / "hub_cache", monkeypatch)
        yield hub


def files_in(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def gpt2(saved: Saved) -> Files:
    return files_in(saved("gpt2"))


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


SURPLUS = (
    "pytorch_model.bin", "training_args.bin", "optimizer.pt", "head.pkl", "modeling_own.py", "notes.md",
    "model.fp16.safetensors", "onnx/model.safetensors", "checkpoint-5/model.safetensors", "adapter/evil.py",
    "other/config.json", "flax_model.msgpack",
)  # fmt: skip


@pytest.mark.parametrize("trust_remote_code", [False, True])
def test_only_files_that_loading_reads_are_downloaded(hub: Hub, gpt2: Files, trust_remote_code: bool) -> None:
    hub.add("lab/base", {**gpt2, **dict.fromkeys(SURPLUS, b"surplus")})
    model = mh.HeadedModel.from_pretrained("lab/base", trust_remote_code=trust_remote_code)
    assert model.lm is not None
    assert hub.downloaded() == set(gpt2) | ({"modeling_own.py"} if trust_remote_code else set())


def test_a_model_in_several_files_loads_again_without_a_network(
    hub: Hub, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.backbone.save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    shards = files_in(tmp_path / "shards")
    assert sum(name.endswith(".safetensors") for name in shards) > 1
    hub.add("lab/base", {**shards, "pytorch_model.bin": b"surplus"})
    mh.HeadedModel.from_pretrained("lab/base")
    assert hub.downloaded() == set(shards)
    asked = len(hub.requests)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    again = mh.HeadedModel.from_pretrained("lab/base")
    assert len(hub.requests) == asked
    assert torch.equal(again.backbone.lm_head.weight, model.backbone.lm_head.weight)


def test_all_files_are_of_one_commit_while_another_is_pushed(
    hub: Hub, saved: Saved, gpt2: Files, tmp_path: Path
) -> None:
    hub.add("lab/base", gpt2)
    other = files_in(save_family(BY_NAME["gpt2"], tmp_path / "other", seed=1))

    def meanwhile(request: str) -> None:
        if request.startswith("GET /lab/base/resolve/") and len(hub.repositories["lab/base"].commits) == 1:
            hub.add("lab/base", other)

    hub.fails = meanwhile
    model = mh.HeadedModel.from_pretrained("lab/base")
    first = mh.HeadedModel.from_pretrained(saved("gpt2"))
    assert torch.equal(model.backbone.lm_head.weight, first.backbone.lm_head.weight)


def test_heads_and_their_adapter_are_downloaded(hub: Hub, saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    rows = [{"note": f"pain {row}", "urgency": ["low", "high"][row % 2]} for row in range(8)]
    method = mh.LoRA(r=2, epochs=1, start="random", held_out=0)
    mh.train(model, rows, text="note", method=method, eval_fraction=0, out=tmp_path / "model")
    files = files_in(tmp_path / "model")
    hub.add("clinic/triage", {**files, "pytorch_model.bin": b"surplus", "adapter/adapter_model.bin": b"surplus"})
    mh.HeadedModel.from_pretrained("clinic/triage")
    assert hub.downloaded() == set(files)


def test_pytorch_weights_are_read_only_where_there_are_no_others_and_run_nothing(
    hub: Hub, saved: Saved, gpt2: Files, tmp_path: Path
) -> None:
    torch.save(load_file(saved("gpt2") / "model.safetensors"), tmp_path / "weights.bin")
    plain = {name: content for name, content in gpt2.items() if name != "model.safetensors"}
    surplus = {"training_args.bin": b"surplus", "optimizer.bin": b"surplus"}
    hub.add("lab/old", {**plain, **surplus, "pytorch_model.bin": (tmp_path / "weights.bin").read_bytes()})
    hub.add("lab/evil", {**plain, "pytorch_model.bin": pickle.dumps(Runs(tmp_path / "ran"))})
    mh.HeadedModel.from_pretrained("lab/old")
    assert hub.downloaded() == {*plain, "pytorch_model.bin"}
    with pytest.raises(Exception, match=r"(?i)weights.only|pickle"):
        mh.HeadedModel.from_pretrained("lab/evil")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["../../../evil.json", "..\\evil.json", "adapter/../../../../adapter_config.json", "/tmp/evil.json"]
)
def test_names_that_lead_out_of_the_cache_are_not_downloaded(hub: Hub, gpt2: Files, tmp_path: Path, name: str) -> None:
    hub.add("lab/base", {**gpt2, name: b"{}"})
    assert mh.HeadedModel.from_pretrained("lab/base").lm is not None
    written = [*tmp_path.rglob("*evil*"), *tmp_path.rglob("adapter_config.json")]
    assert all(path.parent.parent.name == "snapshots" for path in written)
    assert not Path("/tmp/evil.json").exists()


def test_an_index_of_weights_outside_the_folder_is_an_error(hub: Hub, gpt2: Files) -> None:
    index = {"weight_map": {"transformer.wte.weight": "../../../secret.safetensors"}}
    files = {name: content for name, content in gpt2.items() if name != "model.safetensors"}
    hub.add("lab/base", {**files, "model.safetensors.index.json": json.dumps(index).encode()})
    with pytest.raises(mh.errors.UnknownBackboneError, match=r"names the weight file '\.\./\.\./\.\./secret"):
        mh.HeadedModel.from_pretrained("lab/base")
    assert not [name for name in hub.downloaded() if "secret" in name]


def test_a_link_in_a_repository_is_not_followed(hub: Hub, gpt2: Files, tmp_path: Path) -> None:
    """Git stores a link as a file with its target; the hub serves it as one."""
    (tmp_path / "config.json").write_bytes(gpt2["config.json"])
    hub.add("lab/base", {**gpt2, "config.json": str(tmp_path / "config.json").encode()})
    with pytest.raises(mh.errors.UnknownBackboneError, match=r"config\.json cannot be used"):
        mh.HeadedModel.from_pretrained("lab/base")


def test_heads_that_name_a_path_of_another_machine_need_their_backbone(hub: Hub, saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    model.save_pretrained(tmp_path / "heads", backbone="reference")
    hub.add("clinic/heads", files_in(tmp_path / "heads"))
    moved = tmp_path / "not here"
    text = (tmp_path / "heads" / "heads.json").read_text()
    assert str(saved("gpt2")) in text, "saved on this machine, the path is named"
    record = json.loads(text)
    record["backbone"]["name"] = str(moved)
    record["checksum"] = checksum(record)
    hub.add("clinic/heads", {**files_in(tmp_path / "heads"), "heads.json": json.dumps(record).encode()})
    with pytest.raises(mh.errors.UnknownBackboneError, match="its backbone has moved"):
        mh.HeadedModel.from_pretrained("clinic/heads")
