"""L22 where a backbone is tuned: killed at any moment and started again, a run ends with the weights it would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import manyheads as mh
from manyheads.cli import main
from manyheads.training.resuming import run_folder as same_run
from tests.laws.killed_runs import DATA, SETTINGS, fresh, plans
from tests.laws.oracle import changed, snapshot
from tests.laws.test_tuning import arguments, examples
from tests.laws.test_tuning import fresh as plain_model

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")


# --- killed ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what became of every plan, by its name."""
    folder = tmp_path_factory.mktemp("killed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MANYHEADS_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.laws.killed_runs", str(folder)], capture_output=True, text=True, timeout=400,
        env=environment, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


@pytest.mark.parametrize("name", plans())
def test_l22_a_killed_run_ends_as_one_left_in_peace(report: dict[str, Any], name: str) -> None:
    found = report[name]
    assert found["killed"]
    assert all(found["killed"])
    assert found["differing"] == []
    assert found["same"] == {"history": True, "metrics": True, "chosen": True}
    assert found["resumed"] != [None] or name == "full, before the first checkpoint"
    assert not found["left"]


@pytest.mark.parametrize(
    ("name", "checkpoint", "reported"),
    [
        ("full, half of the weights", "checkpoint-6", "checkpoint-9: it is incomplete"),
        ("full, without a random state", "checkpoint-4", "checkpoint-8: it is incomplete"),
        ("full, without a mark", "checkpoint-6", "checkpoint-9: it is incomplete"),
        ("full, damaged", "checkpoint-3", "checkpoint-6: optimizer.pt is damaged"),
    ],
)
def test_l22_a_checkpoint_that_is_not_whole_is_skipped_with_a_warning(
    report: dict[str, Any], name: str, checkpoint: str, reported: str
) -> None:
    assert report[name]["resumed"] == [checkpoint]
    assert [reported in warning for warning in report[name]["warnings"]] == [True]


def test_l22_at_most_two_whole_checkpoints_are_kept(report: dict[str, Any]) -> None:
    assert report["full, thrice"]["found"] == ["checkpoint-3", "checkpoint-6", "run.json"]


# --- interrupted ----------------------------------------------------------------------------------


def interrupted(monkeypatch: pytest.MonkeyPatch, step: int, run: Callable[[], object]) -> None:
    """Run something that is interrupted at a step."""
    plain = mh.Trainer.training_step

    def stop(self: mh.Trainer, *inputs: Any) -> Tensor:
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return plain(self, *inputs)

    with monkeypatch.context() as patch:
        patch.setattr(mh.Trainer, "training_step", stop)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run()


def trained(method: mh.Full | mh.Fork, seed: int = 0) -> mh.HeadedModel:
    model = fresh("gpt2")
    mh.train(model, DATA, "text", method, eval_fraction=0.2, seed=seed)
    return model


def test_l22_a_forks_checkpoint_holds_the_fork_and_the_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = mh.Fork(top=1, **{**SETTINGS, "checkpoints": tmp_path / "kept"})
    interrupted(monkeypatch, 9, lambda: trained(method))
    with safe_open(tmp_path / "kept/checkpoint-8/model.safetensors", "pt") as file:
        names = list(file.keys())
        numbers = sum(file.get_tensor(name).numel() for name in names)
    assert names
    assert all("heads" in name or "branches.fork" in name for name in names)
    model = trained(method)
    own = [*model.core.backbone.branches["fork"].trainable_parameters().values(), *model.heads.parameters()]
    assert numbers == pytest.approx(sum(parameter.numel() for parameter in own), rel=0.05)


@pytest.mark.parametrize(
    ("settings", "seed", "reported"),
    [
        ({"lr": 1e-4}, 0, r"method\.lr was 0\.001 there and is 0\.0001 here"),
        ({"best_by": None}, 0, r"method\.best_by was 'mean' there and is None here"),
        ({}, 1, "seed was 0 there and is 1 here; data differs"),
    ],
)
def test_another_runs_folder_is_rejected_by_what_differs(
    settings: dict[str, Any], seed: int, reported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"lr": 1e-3, **SETTINGS, "checkpoints": tmp_path / "kept"}
    interrupted(monkeypatch, 1, lambda: trained(mh.Full(**method)))
    with pytest.raises(mh.errors.WrongRunError, match=reported):
        trained(mh.Full(**{**method, **settings}), seed)


def test_a_folder_of_something_else_is_rejected_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(mh.errors.OutputExistsError, match="not training checkpoints"):
        trained(mh.Full(**{**SETTINGS, "checkpoints": tmp_path}))
    assert (tmp_path / "thesis.txt").read_text() == "two years of work"


def test_what_else_lies_in_the_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = mh.Full(**{**SETTINGS, "checkpoints": tmp_path})
    interrupted(monkeypatch, 5, lambda: trained(method))
    (tmp_path / "note.txt").write_text("mine")
    result = mh.train(fresh("gpt2"), DATA, "text", method, eval_fraction=0.2)
    assert any("resumed from" in note and "checkpoint-4" in note for note in result.notes)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_checkpoints_stay_until_the_model_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh("gpt2")
    found: list[bool] = []
    plain = same_run.clear
    monkeypatch.setattr(
        "manyheads.training.tuning.method.clear",
        lambda folder: (found.append((tmp_path / "out/heads.json").exists()), plain(folder)),
    )
    method = mh.Full(**{**SETTINGS, "checkpoints": tmp_path / "kept"})
    mh.train(model, DATA, "text", method, eval_fraction=0.2, out=tmp_path / "out")
    assert found == [True]
    assert not (tmp_path / "kept").exists()
    assert "checkpoints" not in model.heads["urgency"].summary


def test_a_setting_out_of_range_is_rejected() -> None:
    with pytest.raises(mh.errors.MethodError, match="save_steps must be a positive"):
        mh.Full(save_steps=0)


def test_a_trainers_own_settings_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = arguments(tmp_path / "own", 8, 1)
    own.max_steps, own.num_train_epochs = -1, 3
    own.save_strategy, own.save_steps = "steps", 2
    with pytest.raises(mh.errors.MethodError, match="leave checkpoints out"):
        mh.Full(trainer=own, checkpoints=tmp_path)
    peace = trained(mh.Full(trainer=own))
    interrupted(monkeypatch, 5, lambda: trained(mh.Full(trainer=own)))
    for path in (tmp_path / "own").glob("checkpoint-*"):
        if int(path.name.rpartition("-")[2]) > 4:
            (path / "complete.json").unlink()
    own.resume_from_checkpoint = "True"
    with pytest.warns(mh.errors.CheckpointWarning):
        again = trained(mh.Full(trainer=own))
    assert changed(again, snapshot(peace)) == []


def test_the_command_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh("gpt2").backbone.save_pretrained(tmp_path / "backbone")
    fresh("gpt2").tokenizer.save_pretrained(tmp_path / "backbone")
    (tmp_path / "data.jsonl").write_text(
        "\n".join(json.dumps({"text": row["text"], "u": row["urgency"]}) for row in DATA)
    )

    def command(out: str, *more: str) -> None:
        reported = ("train", "data.jsonl", "--backbone", "backbone", "--text", "text", "--head", "u", "--out", out)
        monkeypatch.setattr(sys, "argv", ["manyheads", *reported, "--method", "full", "--lr", "1e-3", *more])
        main()

    monkeypatch.chdir(tmp_path)
    for run in (lambda: command("peace"), lambda: command("killed", "--checkpoints", "kept")):
        if not (tmp_path / "peace").exists():
            with pytest.raises(SystemExit, match="0"):
                run()
        else:
            interrupted(monkeypatch, 4, run)
            assert (tmp_path / "kept/checkpoint-3/complete.json").exists()
            with pytest.raises(SystemExit, match="0"):
                run()
    texts = [str(row["text"]) for row in DATA]
    one, other = (mh.HeadedModel.from_pretrained(tmp_path / name).predict(texts) for name in ("peace", "killed"))
    assert np.array_equal(one.logits["u"], other.logits["u"])
    assert not (tmp_path / "kept").exists()


# --- mh.Trainer -----------------------------------------------------------------------------------


def stepped(folder: Path, resume: str | bool | None, strategy: str = "random", steps: int = 6) -> mh.HeadedModel:
    """Train a GPT-2, whose weights are tied and some of them frozen, by mh.Trainer itself."""
    model = plain_model("gpt2")
    model.backbone.transformer.wpe.requires_grad_(False)
    settings = arguments(folder, 4, 1, learning_rate=1e-3, save_steps=steps // 2)
    settings.max_steps, settings.save_strategy, settings.train_sampling_strategy = steps, "steps", strategy
    mh.Trainer(model, settings, train_dataset=examples(model)).train(resume_from_checkpoint=resume)
    return model


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
def test_mh_trainer_goes_on_from_the_newest_whole_checkpoint(strategy: str, tmp_path: Path) -> None:
    peace = stepped(tmp_path, None, strategy)
    (tmp_path / "checkpoint-6/scheduler.pt").unlink()
    with pytest.warns(mh.errors.CheckpointWarning, match=r"checkpoint-6: scheduler\.pt is missing"):
        again = stepped(tmp_path, True, strategy)
    assert changed(again, snapshot(peace)) == []


def test_mh_trainer_rejects_what_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(mh.errors.NotACheckpointError, match="no complete checkpoint"):
        stepped(tmp_path, True)
    stepped(tmp_path, None, steps=2)
    weights = tmp_path / "checkpoint-2/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(mh.errors.CorruptCheckpointError, match=r"model\.safetensors is damaged"):
        stepped(tmp_path, str(tmp_path / "checkpoint-2"))


def test_mh_trainer_rejects_another_models_checkpoint(tmp_path: Path) -> None:
    stepped(tmp_path, None, steps=2)
    other = plain_model("bert")
    run = mh.Trainer(other, arguments(tmp_path, 4, 1), train_dataset=examples(other))
    before = snapshot(other)
    with pytest.raises(mh.errors.WrongRunError, match="another model"):
        run.train(resume_from_checkpoint=True)
    assert changed(other, before) == []
    assert all(torch.isfinite(tensor).all() for tensor in other.state_dict().values())
