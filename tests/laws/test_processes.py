"""L18. Several processes, as torchrun and accelerate launch start them, do what one does."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import manyheads as mh
from manyheads.cli import main
from manyheads.features import precision
from tests.families import TEXTS
from tests.laws import in_processes

# A process that waits for another one without end is a failure, and not a suite that stands still.
SECONDS = 240
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (
    "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
    "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip


def started(*arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of Python's and return how it ended; whatever it started is gone by then."""
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "MANYHEADS_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes before itself
        out, err = process.communicate()
        pytest.fail(f"It hung:\n{err[-4000:]}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


# --- gradients ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run every case in two processes, and return where its tensors lie, and how the processes ended."""
    folder = tmp_path_factory.mktemp("steps")
    return folder, started(*TORCHRUN, "-m", "tests.laws.in_processes", folder, cache=folder / "cache")


@pytest.fixture(scope="module")
def steps(ended: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """Return where every case's tensors lie, from one process and from each of two."""
    folder, done = ended
    assert len(list(folder.glob("*-2-?"))) == 2 * len(in_processes.CASES) + 2, done.stderr[-4000:]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        patch.setenv("MANYHEADS_CACHE", str(folder / "cache-of-one"))
        patch.setattr(precision, "has_fast_bfloat16", lambda device: False)
        in_processes.run_all(folder)
    return folder


def found(steps: Path, case: str) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    return load_file(steps / f"{case}-1-0"), [load_file(steps / f"{case}-2-{rank}") for rank in (0, 1)]


@pytest.mark.parametrize("case", [case for case in in_processes.CASES if case not in in_processes.NO_GRADIENT])
def test_l18_two_processes_give_the_gradients_of_one(steps: Path, case: str) -> None:
    one, two = found(steps, case)
    for gradients in two:
        assert gradients.keys() == one.keys()
        for name, gradient in one.items():
            torch.testing.assert_close(gradients[name], gradient, atol=1e-6, rtol=1e-6)
    assert any(bool(gradient.any()) for gradient in one.values()) == (case != "no label anywhere")


def test_l18_a_head_that_no_process_has_labels_of_does_not_drift(steps: Path) -> None:
    _, two = found(steps, "drift")
    for moved in two:
        names = {name for name, by in moved.items() if bool(by.any())}
        assert any("head_urgency" in name for name in names)
        assert not any("head_age" in name or "head_symptoms" in name for name in names)


@pytest.mark.parametrize("case", ["tuned", "tuned from solved heads"])
def test_l18_a_whole_method_predicts_as_that_of_one_process(steps: Path, case: str) -> None:
    one, (first, second) = found(steps, case)
    # A solved head's gradient is next to nothing, and Adam takes whole steps of what rounding leaves of it.
    within = 1e-3 if case == "tuned" else 2e-2
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, atol=within, rtol=1e-4)


def test_l18_each_row_is_trained_on_once_per_epoch_by_one_of_them(steps: Path) -> None:
    one, two = found(steps, "order")
    for epoch in range(3):
        parts = [seen["seen"].view(3, -1)[epoch].tolist() for seen in two]
        assert sorted(parts[0] + parts[1]) == sorted(one["seen"].view(3, -1)[epoch].tolist()) == list(range(10, 34))
    assert not torch.equal(one["seen"].view(3, -1)[0], one["seen"].view(3, -1)[1])


def test_l22_two_processes_go_on_from_their_checkpoint_bit_for_bit(steps: Path) -> None:
    one, two = found(steps, "resumed")
    for differences in (one, *two):
        assert not any(bool(tensor.any()) for tensor in differences.values())


def test_l18_what_fails_in_one_process_ends_them_all(ended: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = ended
    assert done.returncode != 0
    assert "TrainingError: rank 1 gives up" in done.stderr


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "ads.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ad", "job_type", "education"])
        for row in range(32):
            writer.writerow([f"{TEXTS[row % len(TEXTS)]} {row}", ("full", "part")[row % 2], ("a", "b", "")[row % 3]])
    return path


def asked(ads: Path, backbone: Path, out: Path, *more: object) -> list[object]:
    heads = ("--head", "job_type", "--head", "education")
    tuned = ("--epochs", 2, "--lr", 1e-6, "--head-lr", 1e-5, "--eval-fraction", 0.25, "--dtype", "float32")
    return ["manyheads", "train", ads, "--backbone", backbone, "--text", "ad", *heads, "--out", out, *tuned, *more]


def predicted(folder: Path) -> dict[str, np.ndarray]:
    return dict(mh.HeadedModel.from_pretrained(folder).predict(TEXTS).logits)


@pytest.fixture(scope="module")
def alone(ads: Path, tmp_path_factory: pytest.TempPathFactory, calm: Path) -> dict[str, np.ndarray]:
    """Return what a model predicts that one process tuned."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYHEADS_CACHE", str(folder / "cache"))
        patch.setattr(sys, "argv", [str(item) for item in asked(ads, calm, folder / "model", "--method", "full")])
        with pytest.raises(SystemExit, match="0"):
            main()
    return predicted(folder / "model")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, saved: Callable[[str], Path]) -> Path:
    """Return a saved backbone without dropout, so that runs of different shape can be compared."""
    folder = tmp_path_factory.mktemp("calm") / "bert"
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    config: Any = model.backbone.config
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model.backbone.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("launcher", [(*TORCHRUN, "-m"), (*ACCELERATE, "-m")], ids=["torchrun", "accelerate"])
def test_l18_the_command_saves_and_speaks_once(
    launcher: tuple[str, ...], ads: Path, calm: Path, alone: dict[str, np.ndarray], tmp_path: Path
) -> None:
    reported = asked(ads, calm, tmp_path / "model", "--method", "full", "--json")
    done = started(*launcher, *reported, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout)["rows"]["job_type"] == {"train": 24, "evaluate": 8}
    told = [line for line in done.stderr.splitlines() if "job_type" in line]  # what was inferred, and every epoch
    assert len(told) == len(set(told))
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["model"]
    for name, logits in predicted(tmp_path / "model").items():
        np.testing.assert_allclose(logits, alone[name], atol=1e-3)


def test_l18_a_method_of_one_process_reports_it_in_one_line(ads: Path, calm: Path, tmp_path: Path) -> None:
    reported = [item for item in asked(ads, calm, tmp_path / "model") if item not in ("--epochs", 2, "--lr", 1e-6)]
    reported = [item for item in reported if item not in ("--head-lr", 1e-5)]
    done = started(*TORCHRUN, "-m", *reported, cache=tmp_path / "cache")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("manyheads:")]
    assert lines == ["manyheads: Frozen runs in one process; start it without torchrun"]
    assert not (tmp_path / "model").exists()
