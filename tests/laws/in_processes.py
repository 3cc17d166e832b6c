"""What ``test_processes.py`` runs, in one process or, by torchrun, in several: steps of a joint loss, written to files.

``python -m tests.laws.in_processes FOLDER``: each case's gradient, or weights, go to ``FOLDER/CASE-PROCESSES-RANK``;
at last one of two processes fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import manyheads as mh
from manyheads.features import precision
from manyheads.heads import Ragged
from manyheads.runtime.processes import process_count
from tests.families import BY_NAME, tokenizer_for
from tests.laws.test_tuning import DATA, LABELS, ROWS, arguments, examples, fresh

SCRATCH = Path(tempfile.gettempdir()) / "manyheads-in-processes"  # nothing is written there
RANK = int(os.environ.get("RANK", "0"))


def rows(model: mh.HeadedModel, keep: Callable[[int, str], bool]) -> list[dict[str, Any]]:
    """Return the rows of ``test_tuning`` with the labels that ``keep(row, head)`` lets stand."""
    return [
        {**row, "labels": {name: label for name, label in row["labels"].items() if keep(place, name)}}
        for place, row in enumerate(examples(model))
    ]


def gradient(
    keep: Callable[[int, str], bool], accumulation: int, lm_weight: float = 0.0, count: int = ROWS
) -> dict[str, Tensor]:
    """Return what one step of plain gradient descent at rate one takes from each tensor."""
    model = fresh("gpt2")
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    constant = torch.optim.lr_scheduler.ConstantLR(descent, factor=1.0)
    batch = ROWS // accumulation // process_count()
    run = mh.Trainer(
        model, arguments(SCRATCH, batch, accumulation), train_dataset=rows(model, keep)[:count],
        lm_weight=lm_weight, optimizers=(descent, constant),
    )  # fmt: skip
    run.train()
    return {name: before[name] - tensor.detach() for name, tensor in model.named_parameters()}


def drift(keep: Callable[[int, str], bool]) -> dict[str, Tensor]:
    """Return what AdamW with weight decay takes from each tensor in one step."""
    model = fresh("bert")
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    settings = arguments(SCRATCH, ROWS // 2 // process_count(), 2, learning_rate=1e-2, weight_decay=0.1)
    mh.Trainer(model, settings, train_dataset=rows(model, keep)).train()
    return {name: before[name] - tensor.detach() for name, tensor in model.named_parameters()}


def first_half(place: int, name: str) -> bool:
    """Let one process have one head's labels, and the other those of the other heads."""
    return (name == "urgency") == (place < ROWS // 2)


def tuned(start: str) -> dict[str, Tensor]:
    """Return what a model predicts after two epochs of a whole method, and its weights.

    The steps are small: Adam makes a whole step of a gradient that is rounding alone.
    """
    model = fresh("bert")
    method = mh.Full(weighting="learned", epochs=2, lr=1e-6, head_lr=1e-5, batch_rows=12, best_by="mean", start=start)
    mh.train(model, DATA[:40], "text", method, eval_fraction=0.2)
    predicted = model.predict([str(row["text"]) for row in DATA[:10]]).logits
    arrays = {name: values.values if isinstance(values, Ragged) else values for name, values in predicted.items()}
    return {name: torch.from_numpy(values) for name, values in arrays.items()} | dict(model.backbone.state_dict())


def order() -> dict[str, Tensor]:
    """Return the rows that this process took in three epochs, its random numbers being elsewhere than the others'."""
    model = fresh("bert")
    seen: list[Tensor] = []

    class Watched(mh.Trainer):
        def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any) -> Tensor:
            seen.append(inputs["input_ids"][:, 1])
            torch.rand(RANK + 1)
            return super().training_step(model, inputs, *rest)

    settings = arguments(SCRATCH, 4 // process_count(), 1)
    settings.max_steps, settings.num_train_epochs = -1, 3
    settings.train_sampling_strategy = "group_by_length"
    marked = [{"input_ids": [2, row + 10, 3], "labels": {"urgency": row % 3}} for row in range(24)]
    Watched(model, settings, train_dataset=marked).train()
    return {"seen": torch.cat(seen)}


def resumed(folder: Path) -> dict[str, Tensor]:
    """Return what an interrupted run, gone on with, makes different from one that was left in peace."""

    def ended(checkpoints: Path | None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))  # with dropout
        model.add_head("urgency", mh.Multiclass(LABELS, dropout=0.2))
        method = mh.Full(batch_rows=8, lr=1e-3, checkpoints=checkpoints, save_steps=3, start="random")
        mh.train(model, DATA[:40], "text", method, eval_fraction=0.2)
        return dict(model.state_dict())

    plain = mh.Trainer.training_step

    def interrupted(self: mh.Trainer, *inputs: Any) -> Tensor:
        if self.state.global_step == 7:
            raise KeyboardInterrupt
        return plain(self, *inputs)

    mh.Trainer.training_step = interrupted
    kept = folder / f"kept-{process_count()}"
    try:
        ended(kept)
    except KeyboardInterrupt:
        assert {path.name for path in kept.iterdir()} == {"run.json", "checkpoint-3", "checkpoint-6"}
    finally:
        mh.Trainer.training_step = plain
    one, other = ended(kept), ended(None)
    assert not (RANK == 0 and kept.exists())
    return {name: tensor - one[name] for name, tensor in other.items()}


def fail() -> None:
    """Let one process fail in its second step, while the other waits for its gradients."""

    class Failing(mh.Trainer):
        def training_step(self, *inputs: Any) -> Tensor:
            if RANK == 1 and self.state.global_step == 1:
                raise mh.errors.TrainingError("rank 1 gives up")
            return super().training_step(*inputs)

    settings = arguments(SCRATCH, 4, 1)
    settings.max_steps = 3
    model = fresh("bert")
    Failing(model, settings, train_dataset=examples(model)).train()


CASES: dict[str, Callable[[], dict[str, Tensor]]] = {
    "different heads": lambda: gradient(first_half, 1),
    "accumulation": lambda: gradient(lambda *_: True, 2),
    "no label on one rank": lambda: gradient(lambda place, _: place < ROWS // 2, 1),
    "no label in one batch": lambda: gradient(lambda place, _: place >= ROWS // 4, 2),
    "an LM loss beside": lambda: gradient(first_half, 2, 0.7),
    "an LM loss alone": lambda: gradient(lambda *_: False, 2, 0.7),
    "no label anywhere": lambda: gradient(lambda *_: False, 2),
    "uneven": lambda: gradient(lambda *_: True, 2, 0.7, 13),
    "a rank without rows": lambda: gradient(lambda *_: True, 2, 0.7, 11),
    "drift": lambda: drift(lambda _, name: name == "urgency"),
    "tuned": lambda: tuned("random"),
    "tuned from solved heads": lambda: tuned("frozen"),
    "order": order,
}


# Those whose tensors are no gradients.
NO_GRADIENT = ("drift", "tuned", "tuned from solved heads", "order")


def run_all(folder: Path) -> None:
    """Run every case."""
    for name, case in {**CASES, "resumed": lambda: resumed(folder)}.items():
        tensors = {key: tensor.contiguous().clone() for key, tensor in case().items()}
        save_file(tensors, folder / f"{name}-{process_count()}-{RANK}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    precision.has_fast_bfloat16 = lambda device: False
    run_all(Path(sys.argv[1]))
    fail()
