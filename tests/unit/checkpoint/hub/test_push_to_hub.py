"""Models pushed to a hub on loopback through huggingface_hub, and loaded from it."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

import manyheads as mh
from tests.families import BY_NAME, TEXTS, save_family
from tests.hub_server import Hub, running_hub, use_hub

# huggingface_hub calls httpx2 in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

Saved = Callable[[str], Path]
LABELS = ["low", "high"]
ROWS = [{"note": text, "urgency": LABELS[len(text) % 2]} for text in TEXTS]
USER, HOST = getpass.getuser(), socket.gethostname()
MODEL_FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
HEAD_FILES = {".gitattributes", "heads.json", "heads.safetensors", "README.md"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as hub:
        use_hub(hub, tmp_path / "hub_cache", monkeypatch)
        yield hub


def headed(name: str | Path) -> mh.HeadedModel:
    """Return a model with a trained head of random weights, which differ from call to call."""
    model = mh.HeadedModel.from_pretrained(name)
    model.add_head("urgency", mh.Multiclass(labels=LABELS)).trained = True
    return model


def logits(model: mh.HeadedModel) -> np.ndarray:
    return np.asarray(model.predict(TEXTS).logits["urgency"])


def fails(hub: Hub, part: str, status: int) -> None:
    hub.fails = lambda request: status if part in request else None


ELSEWHERE = """
import sys
import transformers
import manyheads as mh
texts = sys.stdin.read().split("\\n")
print(mh.HeadedModel.from_pretrained("clinic/triage").predict(texts).logits["urgency"].tobytes().hex())
plain = transformers.AutoModelForCausalLM.from_pretrained("clinic/triage")
print(plain(input_ids=plain.dummy_inputs["input_ids"]).logits.detach().numpy().tobytes().hex())
"""


def test_a_pushed_model_predicts_the_same_in_another_process(hub: Hub, saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=LABELS))
    mh.train(model, ROWS, text="note", method=mh.Frozen(cache=None), eval_fraction=0)
    commit = model.push_to_hub("clinic/triage", private=True, commit_message="First heads")
    assert commit == commit.commit_url == f"{hub.url}/clinic/triage/commit/{commit.oid}"
    assert hub.repositories["clinic/triage"].private
    assert set(hub.files("clinic/triage")) == MODEL_FILES | HEAD_FILES
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "elsewhere"), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input="\n".join(TEXTS),
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    here, lm = (bytes.fromhex(line) for line in run.stdout.split())
    assert here == logits(model).tobytes()
    with torch.no_grad():
        assert lm == model.backbone(input_ids=model.backbone.dummy_inputs["input_ids"]).logits.numpy().tobytes()


def test_nothing_of_this_machine_is_pushed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home" / "alice"
    backbone = save_family(BY_NAME["gpt2"], home / "models" / "gpt2")
    monkeypatch.setenv("HOME", str(home))
    for name, places in {
        "config.json": {"_name_or_path": str(home / "base"), "auto_map": {"AutoConfig": "configuration_own.Own"}},
        "tokenizer_config.json": {"name_or_path": "alice/draft", "special_tokens_map_file": "~/.cache/map.json"},
    }.items():
        config = json.loads((backbone / name).read_text())
        (backbone / name).write_text(json.dumps({**config, **places}))
    for name in ("passwords.txt", "accounts.json", "train.py", "run.toml", ".env"):
        (backbone / name).write_text(json.dumps({"path": str(home)}))
    (backbone / "configuration_own.py").write_text("from .names import NAME\n")
    (backbone / "names.py").write_text("NAME = 'own'\n")
    model = mh.HeadedModel.from_pretrained(backbone)
    model.add_head("urgency", mh.Multiclass(labels=LABELS))
    mh.train(model, ROWS, text="note", method=mh.LoRA(r=2, epochs=1, held_out=0, start="random"), eval_fraction=0)
    model.heads["urgency"].summary["table"] = str(home / "notes.csv")
    model.push_to_hub("clinic/triage")
    files = hub.files("clinic/triage")
    adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    code = {"configuration_own.py", "names.py"}
    assert set(files) == MODEL_FILES | HEAD_FILES | adapter | code
    private = {str(tmp_path), "alice", "passwords", *(name for name in (USER, HOST) if len(name) > 4)}
    texts = {name: content.decode() for name, content in files.items() if not name.endswith(".safetensors")}
    assert not {(name, word) for name, text in texts.items() for word in private if word in text}
    assert json.loads(files["adapter/adapter_config.json"])["base_model_name_or_path"] == "clinic/triage"
    assert set(json.loads(files["heads.json"])["files"]) == set(files) - {".gitattributes"}
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("clinic/triage")), logits(model))


def test_the_card_of_a_pushed_model_loads_it(hub: Hub, saved: Saved) -> None:
    headed(saved("gpt2")).push_to_hub("clinic/triage")
    card = ModelCard(hub.files("clinic/triage")["README.md"].decode())
    assert card.data.library_name == "manyheads"
    assert {"manyheads", "text-classification"} <= set(card.data.tags)
    snippet, plain = (block.partition("```")[0] for block in card.text.split("```python\n")[1:3])
    names: dict[str, object] = {}
    exec(snippet + plain, names)
    assert isinstance(names["model"], mh.HeadedModel)
    assert type(names["backbone"]).__name__ == "GPT2LMHeadModel"


def test_a_second_push_replaces_the_first_which_stays_under_its_commit(hub: Hub, saved: Saved) -> None:
    old, new = headed(saved("gpt2")), headed(saved("bert"))
    first = old.push_to_hub("clinic/triage")
    card = hub.files("clinic/triage")["README.md"].replace(b"[More Information Needed]", b"For nurses.", 1)
    files = {**hub.files("clinic/triage"), "README.md": card, "results.md": b"by hand"}
    hub.add("clinic/triage", files)
    new.push_to_hub("clinic/triage")
    files = hub.files("clinic/triage")
    assert files["README.md"] == card, "a card that a person edited stays"
    assert files["results.md"] == b"by hand"
    assert "generation_config.json" not in files, "BERT has none"
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("clinic/triage", revision=first.oid)), logits(old))
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("clinic/triage")), logits(new))
    assert new.push_to_hub("clinic/triage").oid == hub.repositories["clinic/triage"].branches["main"]


def test_a_branch_is_created_and_leaves_main(hub: Hub, saved: Saved) -> None:
    old, new = headed(saved("gpt2")), headed(saved("gpt2"))
    old.push_to_hub("triage")  # the token's user is called "writer"
    new.push_to_hub("writer/triage", revision="next")
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("writer/triage")), logits(old))
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("writer/triage", revision="next")), logits(new))


def test_weights_of_pytorch_are_pushed_as_safetensors(hub: Hub, saved: Saved, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved("gpt2"), tmp_path / "old"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = headed(folder)
    model.push_to_hub("clinic/triage")
    assert set(hub.files("clinic/triage")) == MODEL_FILES | HEAD_FILES
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("clinic/triage")), logits(model))


def test_heads_without_their_backbone(hub: Hub, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.add("lab/base", {path.name: path.read_bytes() for path in saved("gpt2").iterdir()})
    model = headed("lab/base")
    model.push_to_hub("clinic/heads", heads_only=True)
    assert set(hub.files("clinic/heads")) == HEAD_FILES
    backbone = json.loads(hub.files("clinic/heads")["heads.json"])["backbone"]
    assert (backbone["name"], backbone["revision"]) == ("lab/base", commit)
    other = save_family(BY_NAME["gpt2"], tmp_path / "other", seed=1)
    hub.add("lab/base", {path.name: path.read_bytes() for path in other.iterdir()})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "another cache"))
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("clinic/heads")), logits(model))


def test_heads_of_a_local_or_changed_backbone_need_it(hub: Hub, saved: Saved) -> None:
    local = headed(saved("gpt2"))
    with pytest.raises(mh.errors.CheckpointError, match="loaded from the hub, and GPT2LMHeadModel was not"):
        local.push_to_hub("clinic/heads", heads_only=True)
    hub.add("lab/base", {path.name: path.read_bytes() for path in saved("gpt2").iterdir()})
    changed = headed("lab/base")
    with torch.no_grad():
        next(changed.backbone.parameters()).add_(0.01)
    with pytest.raises(mh.errors.CheckpointError, match="its weights changed since lab/base was loaded"):
        changed.push_to_hub("clinic/heads", heads_only=True)
    assert "clinic/heads" not in hub.repositories


@pytest.mark.parametrize(("part", "status"), [("PUT /large/", 403), ("/commit/", 500), ("/preupload/", 400)])
def test_an_interrupted_push_leaves_the_old_model(hub: Hub, saved: Saved, part: str, status: int) -> None:
    old = headed(saved("gpt2"))
    commit = old.push_to_hub("clinic/triage")
    fails(hub, part, status)
    with pytest.raises(mh.errors.HubError) as caught:
        headed(saved("gpt2")).push_to_hub("clinic/triage")
    assert str(caught.value).startswith("clinic/triage: ")
    assert "\n" not in str(caught.value)
    assert hub.repositories["clinic/triage"].branches["main"] == commit.oid
    hub.fails = lambda request: None
    assert np.array_equal(logits(mh.HeadedModel.from_pretrained("clinic/triage")), logits(old))


def test_a_commit_of_somebody_else_is_not_overwritten(hub: Hub, saved: Saved) -> None:
    model = headed(saved("gpt2"))
    model.push_to_hub("clinic/triage")

    def meanwhile(request: str) -> None:
        if "/preupload/" in request:
            hub.add("clinic/triage", {**hub.files("clinic/triage"), "notes.md": b"theirs"})

    hub.fails = meanwhile
    with pytest.raises(mh.errors.HubError, match="another commit came first; push again"):
        headed(saved("gpt2")).push_to_hub("clinic/triage")
    assert hub.files("clinic/triage")["notes.md"] == b"theirs"


@pytest.mark.parametrize(
    ("repo", "token", "message"),
    [
        ("clinic/triage", False, "pushing needs an access token"),
        ("clinic/triage", "hf_stranger", "the token is not valid"),
        ("clinic/triage", "hf_reader", "this token may not write to it"),
        ("a/b/c", "hf_writer", "is not a hub id"),
    ],
)
def test_a_push_without_permission(hub: Hub, saved: Saved, repo: str, token: str | bool, message: str) -> None:
    with pytest.raises(mh.errors.HubError, match=message) as caught:
        headed(saved("gpt2")).push_to_hub(repo, token=token)
    assert str(caught.value).startswith(f"{repo}: ")
    assert "\n" not in str(caught.value)
    assert not hub.repositories


def test_a_push_without_a_token_or_a_network(hub: Hub, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    model = headed(saved("gpt2"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(mh.errors.HubError, match=r"the hub cannot be reached: .*; check the network"):
            model.push_to_hub("clinic/triage")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(mh.errors.HubError, match="pushing needs an access token"):
        model.push_to_hub("clinic/triage")
