"""What ``test_resume.py`` runs: trainings that kill themselves, resumed, beside the same ones left in peace.

``python -m tests.laws.killed_runs FOLDER`` writes ``FOLDER/report.json``. Every training is a process of its own,
forked from this one so that nothing is imported twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import manyheads as mh
from manyheads.features import precision
from manyheads.training.resuming import run_folder, trainer_state
from manyheads.training.tuning import best_epoch, run, trainer
from tests.families import BY_NAME, tokenizer_for
from tests.laws.oracle import RECORDS

DATA = [
    {**record, "text": f"{record['text']} {row}", "found": [*record["found"], "O"]}
    for row, record in enumerate(RECORDS * 4)
][:40]
# Four steps per epoch.
SETTINGS: dict[str, Any] = {
    "checkpoints": "elsewhere",
    "epochs": 3,
    "batch_rows": 8,
    "head_lr": 1e-2,
    "dtype": "float32",
    "best_by": "mean",
}

Kill = Callable[[], None]


@dataclass(frozen=True)
class Plan:
    """A training, and where it is killed.

    Attributes:
        method: How to train; where its checkpoints are is added.
        family: The backbone's.
        kills: One run each, killed there: a name of ``PLACES``, and at which time.
        damage: Whether the newest checkpoint is damaged afterwards.
    """

    method: mh.Full | mh.Fork | mh.LoRA
    family: str
    kills: tuple[tuple[str, int], ...] = ()
    damage: bool = False


def at_step(count: int, kill: Kill) -> None:
    """Kill before a step."""
    plain = trainer.Trainer.training_step

    def step(self: Any, *inputs: Any) -> Tensor:
        if self.state.global_step == count:
            kill()
        return plain(self, *inputs)

    trainer.Trainer.training_step = step


def on_call(owner: Any, name: str, do: Callable[..., None]) -> Callable[[int, Kill], None]:
    """Return what kills at a certain call of a function, once ``do`` is done."""

    def place(count: int, kill: Kill) -> None:
        plain, calls = getattr(owner, name), []

        def counted(*inputs: Any) -> Any:
            calls.append(1)
            if len(calls) == count:
                do(*inputs)
                kill()
            return plain(*inputs)

        setattr(owner, name, counted)

    return place


def half_a_file(_: Any, folder: str, *rest: Any) -> None:
    """Leave half of a weights file."""
    Path(folder).mkdir(parents=True)
    (Path(folder) / "model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{half")


PLACES: dict[str, Callable[[int, Kill], None]] = {
    "step": at_step,
    "saving": on_call(trainer.Trainer, "_save_checkpoint", lambda *_: None),
    "weights": on_call(trainer.Trainer, "_save", half_a_file),
    "random state": on_call(trainer.Trainer, "_save_rng_state", lambda *_: None),
    "marking": on_call(trainer_state, "mark_complete", lambda *_: None),
    "marked": on_call(trainer_state, "mark_complete", trainer_state.mark_complete),
    "deleting": on_call(run_folder, "delete", run_folder.delete),
    "trained": on_call(best_epoch.EpochEvaluator, "finish", lambda *_: None),
}


def full(**settings: Any) -> mh.Full:
    return mh.Full(lr=1e-3, **{**SETTINGS, **settings})


def plans() -> dict[str, Plan]:
    draw = random.Random(7)
    steps = [("step", step) for step in draw.sample(range(3, 12), 3)]
    often, by_epoch = full(save_steps=3, weighting="learned"), full()
    forked = mh.Fork(top=1, save_steps=2, **SETTINGS)
    return {
        "full, thrice": Plan(often, "bert", tuple(sorted(steps))),
        "full, before the first checkpoint": Plan(often, "bert", (("step", 1),)),
        "full, saving": Plan(by_epoch, "gpt2", (("saving", 2),)),
        "full, half of the weights": Plan(often, "bert", (("weights", 3),)),
        "full, without a random state": Plan(by_epoch, "gpt2", (("random state", 2),)),
        "full, without a mark": Plan(often, "bert", (("marking", 3),)),
        "full, marked": Plan(often, "bert", (("marked", 3),)),
        "full, damaged": Plan(often, "bert", (("step", draw.choice([7, 8])),), damage=True),
        "full, trained": Plan(full(epochs=2.5, save_steps=5), "bert", (("trained", 1),)),
        "full, being tidied": Plan(often, "bert", (("deleting", 1),)),
        "full, out of patience": Plan(full(epochs=8, patience=1), "gpt2", (("trained", 1),)),
        "fork": Plan(forked, "gpt2", (("step", draw.randrange(3, 12)), ("marking", 1))),
        "lora": Plan(mh.LoRA(r=2, dropout=0.1, save_steps=2, **SETTINGS), "gpt2", (("step", draw.randrange(3, 12)),)),
        "fork, in every epoch anew": Plan(replace(forked, cache=None), "bert", (("step", draw.randrange(3, 12)),)),
    }  # fmt: skip


def fresh(family: str) -> mh.HeadedModel:
    """Return a model whose backbone and heads drop out."""
    torch.manual_seed(0)
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], dropout=0.2))
    model.add_head("age", mh.Regression(reads=mh.Hidden(pool="mean"), hidden=(8,), dropout=0.1))
    return model


def train(plan: Plan, folder: Path | None, out: Path, kill: tuple[str, int] | None) -> None:
    """Train, or be killed, and write what became of it."""
    model = fresh(plan.family)
    method = replace(plan.method, checkpoints=folder)
    if kill is not None:
        PLACES[kill[0]](kill[1], lambda: os.kill(os.getpid(), signal.SIGKILL))
    resumed: list[str | bool | None] = []
    plain = run.checkpoint_of
    run.checkpoint_of = lambda *inputs: resumed.append(plain(*inputs)) or resumed[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", mh.ManyheadsWarning)
        result = mh.train(model, DATA, "text", method, eval_fraction=0.2)
    reported = [str(warning.message) for warning in caught if issubclass(warning.category, mh.ManyheadsWarning)]
    torch.save(
        {
            "state": model.state_dict(), "history": result.history, "metrics": result.metrics, "chosen": result.chosen,
            "resumed": [None if place is None else Path(str(place)).name for place in resumed], "warnings": reported,
            "left": folder is not None and folder.exists(),
        },
        out,
    )  # fmt: skip


def forked(do: Callable[[], None]) -> int:
    """Run something in a process of its own, and return what ``waitpid`` shows of its end."""
    child = os.fork()
    if child == 0:
        try:
            do()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def damaged(folder: Path) -> None:
    """Change one bit of the newest checkpoint's optimiser."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    content = bytearray((newest / "optimizer.pt").read_bytes())
    content[len(content) // 2] ^= 4
    (newest / "optimizer.pt").write_bytes(content)


def ran(plan: Plan, folder: Path) -> dict[str, Any]:
    """Run a plan, and the same training in peace, and return what differs."""
    kept, out = folder / "kept", folder / "resumed.pt"
    reported = repr((plan.family, plan.method.describe()))
    peace = folder.parent / f"{hashlib.sha256(reported.encode()).hexdigest()}.pt"
    folder.mkdir()
    ends = [forked(lambda kill=kill: train(plan, kept, out, kill)) for kill in plan.kills]
    found = sorted(path.name for path in kept.iterdir()) if kept.is_dir() else []
    if plan.damage:
        damaged(kept)
    assert forked(lambda: train(plan, kept, out, None)) == 0
    assert peace.exists() or forked(lambda: train(plan, None, peace, None)) == 0
    one, other = torch.load(peace, weights_only=False), torch.load(out, weights_only=False)
    return {
        "killed": [os.WIFSIGNALED(end) and os.WTERMSIG(end) == signal.SIGKILL for end in ends],
        "found": found,
        "differing": [name for name, tensor in one["state"].items() if not torch.equal(tensor, other["state"][name])],
        "same": {key: str(one[key]) == str(other[key]) for key in ("history", "metrics", "chosen")},
        **{key: other[key] for key in ("resumed", "warnings", "left")},
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    precision.has_fast_bfloat16 = lambda device: False
    target = Path(sys.argv[1])
    report = {name: ran(plan, target / f"{place}") for place, (name, plan) in enumerate(plans().items())}
    (target / "report.json").write_text(json.dumps(report, indent=1))
