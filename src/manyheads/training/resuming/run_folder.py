"""The folder of one run's checkpoints, and the facts by which it recognizes the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.errors import OutputExistsError, WrongRunError
from manyheads.heads import Head, write_spec
from manyheads.runtime.files import atomic_write, check_writable, temporary_files
from manyheads.runtime.processes import is_first, process_count
from manyheads.training.dataset import TrainingData
from manyheads.training.resuming.checkpoints import checkpoints_in, delete, newest_complete

FACTS = "run.json"

# Longest value in a message, in characters.
_LONGEST = 80


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run's checkpoints.

    Attributes:
        folder: The folder, which contains nothing else.
        facts: Settings, heads, data and backbone of the run, as plain JSON.
    """

    folder: Path
    facts: Mapping[str, Any]

    def check(self) -> None:
        """Check that the folder is free or belongs to this run.

        Raises:
            WrongRunError: it belongs to another run; names the differences.
            OutputExistsError: it contains other files, or cannot be written to.
        """
        check_writable(self.folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputExistsError(f"{self.folder}: exists and is not a folder; choose another path")
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return
        try:
            found = json.loads((self.folder / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            if set(self.folder.iterdir()) == set(temporary_files(self.folder, FACTS)):
                return  # the run was killed in ``begin``
            raise OutputExistsError(
                f"{self.folder}: contains files that are not training checkpoints; choose another folder"
            ) from None
        differing = list(_differences(found, self.facts))
        if differing:
            raise WrongRunError(
                f"{self.folder}: contains checkpoints of another run: {'; '.join(differing[:5])}; start that run "
                "again, choose another folder, or delete this one"
            )

    def begin(self) -> None:
        """Create the folder and write the run's facts to it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in temporary_files(self.folder, FACTS):
            left.unlink()
        atomic_write(self.folder / FACTS, json.dumps(self.facts, indent=1))

    def newest(self) -> Path | None:
        """Return the newest complete checkpoint, if there is one."""
        return newest_complete(self.folder)


def run_facts(settings: Mapping[str, Any], heads: Mapping[str, Head], data: TrainingData) -> dict[str, Any]:
    """Return everything that must be equal to resume a run, as plain JSON."""
    facts = {
        "method": dict(settings),
        "heads": {name: write_spec(head.spec) for name, head in heads.items()},
        "seed": data.seed,
        "processes": process_count(),
        "data": _data_digest(data),
        "backbone": data.digest,
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def clear(folder: Path) -> None:
    """Delete a run's checkpoints, and the folder if it is then empty."""
    if not is_first() or not (folder / FACTS).is_file():
        return
    # The facts go last: after a kill in between, the folder still belongs to this run.
    for checkpoint in checkpoints_in(folder):
        delete(checkpoint)
    (folder / FACTS).unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _differences(there: Any, here: Any, key: str = "") -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for inner in dict.fromkeys([*there, *here]):
            yield from _differences(there.get(inner), here.get(inner), f"{key}.{inner}" if key else str(inner))
    elif there != here:
        digest = key in ("data", "backbone")
        yield f"{key} differs" if digest else f"{key} was {there!r:.{_LONGEST}} there and is {here!r:.{_LONGEST}} here"


def _data_digest(data: TrainingData) -> str:
    digest = hashlib.sha256()
    for name, rows in sorted(data.tokenized.inputs.items()):
        digest.update(name.encode())
        for row in rows:
            digest.update(np.asarray([len(row), *row], dtype=np.int64).tobytes())
    for name, targets in sorted(data.targets.items()):
        for array in targets.arrays():
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    if data.sample_weight is not None:
        digest.update(np.ascontiguousarray(data.sample_weight).tobytes())
    for part in (data.train, data.evaluate):
        digest.update(np.asarray([len(part), *part], dtype=np.int64).tobytes())
    return digest.hexdigest()
