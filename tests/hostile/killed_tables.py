"""What the tests of killed scorings run: ``python -m tests.hostile.killed_tables FOLDER ROWS PART_ROWS``.

Every scoring is a process of its own, forked from this one so that nothing is imported twice. With a number of kills
as a fourth argument they come at random moments, else at every file operation in turn. ``FOLDER/report.json`` has, for
each output, how often it was killed and whether it then equals that of a scoring left in peace.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import torch

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.scoring import outputs, plan
from tests.families import BY_NAME, TEXTS, save_family

FEW = (("in.csv", "scored.parquet"),)
ALL = (*FEW, ("in.csv", "out/"), ("in.parquet", "out/"), ("in.parquet", "scored.jsonl"))
# The operations around which a process is killed: owner and name.
OPERATIONS: tuple[tuple[Any, str], ...] = (
    (os, "fsync"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (outputs.shutil, "rmtree"),
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(moment: int) -> None:
    """Kill this process at a file operation: odd moments are before it, even ones after it."""
    passed = 0

    def around(operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed == moment:
                die()
            result = operation(*arguments, **options)
            passed += 1
            if passed == moment:
                die()
            return result

        return run

    for owner, name in OPERATIONS:
        setattr(owner, name, around(getattr(owner, name)))


def kill_after(seconds: float) -> None:
    """Kill this process after some time, wherever it is."""

    def wait() -> None:
        time.sleep(seconds)
        die()

    threading.Thread(target=wait, daemon=True).start()


def scored(model: mh.HeadedModel, source: Path, out: str, arm: Callable[[], None]) -> int:
    """Score a table in a process of its own, and return how it ended: 0, or minus the signal."""
    process = os.fork()
    if process == 0:
        try:
            torch.set_num_threads(1)
            arm()
            mh.Predictor(model).score_table(source, out, text="note", overwrite=True)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_until_done(
    run: Callable[[Callable[[], None]], int], arms: Callable[[int], Callable[[], None] | None]
) -> int:
    """Run and kill until a run ends in peace, and return the number of kills."""
    kills = 0
    while True:
        arm = arms(kills)
        code = run(arm or (lambda: None))
        if code == 0 and arm is None:
            return kills
        assert code in (0, -signal.SIGKILL), code
        kills += code != 0
        if code == 0:
            return kills


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def small_model(folder: Path) -> mh.HeadedModel:
    save_family(BY_NAME["bert"], folder)
    model = mh.HeadedModel.from_pretrained(folder)
    model.add_head("urgency", mh.Multiclass(["routine", "urgent"]))
    model.add_head("symptoms", mh.MultiLabel(["pain", "fever", "cough"]))
    torch.manual_seed(0)
    for head in model.heads.values():
        torch.nn.init.normal_(head.output.weight)
        head.trained = True
    return model


def small_table(rows: int) -> pa.Table:
    generator = random.Random(0)
    words = " ".join(TEXTS).split()
    notes = [" ".join(generator.choices(words, k=generator.randint(0, 12))) for _ in range(rows)]
    return pa.table({"id": range(rows), "note": notes})


def report(folder: Path, rows: int, part_rows: int, random_kills: int) -> list[dict[str, Any]]:
    plan._MOST_ROWS = part_rows
    model, table = small_model(folder / "bert"), small_table(rows)
    pa_csv.write_csv(table, folder / "in.csv")
    pq.write_table(table, folder / "in.parquet")
    found = []
    for number, (name, out) in enumerate(ALL if random_kills else FEW):
        whole, killed = folder / f"whole{number}", folder / f"killed{number}"
        whole.mkdir()
        killed.mkdir()
        started = time.monotonic()
        assert scored(model, folder / name, f"{whole}/{out}", lambda: None) == 0
        seconds, generator = time.monotonic() - started, random.Random(number)

        def arms(kills: int, seconds: float = seconds, generator: random.Random = generator) -> Any:
            if random_kills:
                moment = generator.uniform(0.0, 0.15 * seconds)  # so short that a run ends in peace only afterwards
                return (lambda: kill_after(moment)) if kills < random_kills else None
            return lambda: kill_at(kills + 1)

        kills = killed_until_done(
            lambda arm, name=name, out=out, killed=killed: scored(model, folder / name, f"{killed}/{out}", arm), arms
        )
        ids = [int(str(one)) for one in read_table(killed / out).values("id")]
        equal = contents(whole) == contents(killed)
        found.append({"output": f"{name} {out}", "kills": kills, "equal": equal, "rows": ids == list(range(rows))})
    return found


def main() -> None:
    folder, rows, part_rows, *kills = sys.argv[1:]
    torch.set_num_threads(1)
    found = report(Path(folder), int(rows), int(part_rows), int(kills[0]) if kills else 0)
    Path(folder, "report.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
