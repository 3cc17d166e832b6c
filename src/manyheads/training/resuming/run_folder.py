"""A folder that holds one run's checkpoints, and what it is that makes a run the same one."""

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
from manyheads.runtime.files import check_free, write_whole
from manyheads.runtime.processes import is_first, process_count
from manyheads.training.dataset import TrainingData
from manyheads.training.resuming.checkpoints import checkpoints_in, delete, last_whole

FACTS = "run.json"

_MOST = 80


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its checkpoints.

    Attributes:
        folder: Theirs alone.
        facts: What makes it this run: settings, heads, data, backbone.
    """

    folder: Path
    facts: Mapping[str, Any]

    def check(self) -> None:
        """Refuse a folder of something else.

        Raises:
            WrongRunError: another run's; names what differs.
            OutputExistsError: it holds other things, or cannot be written to.
        """
        check_free(self.folder, overwrite=True)
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return
        try:
            found = json.loads((self.folder / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            if all(path.name == f".{FACTS}.new" for path in self.folder.iterdir()):
                return  # killed before it began
            raise OutputExistsError(
                f"{self.folder}: holds something else than a run's checkpoints; choose another folder for them"
            ) from None
        differing = list(_differences(found, self.facts))
        if differing:
            raise WrongRunError(
                f"{self.folder}: holds checkpoints of another run: {'; '.join(differing[:5])}; start that one again, "
                "choose another folder, or delete this one"
            )

    def begin(self) -> None:
        """Write down whose folder it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / FACTS, json.dumps(self.facts, indent=1))

    def last(self) -> Path | None:
        """Return the checkpoint to go on from, if there is one."""
        return last_whole(self.folder)


def run_facts(settings: Mapping[str, Any], heads: Mapping[str, Head], data: TrainingData) -> dict[str, Any]:
    """Return what must be equal for one run to go on where another one stopped, as plain JSON."""
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
    """Delete a run's checkpoints, and the folder if nothing else is in it."""
    if not is_first() or not (folder / FACTS).is_file():
        return
    # Killed in between, a folder is left that is still this run's.
    for checkpoint in checkpoints_in(folder):
        delete(checkpoint)
    (folder / FACTS).unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _differences(there: Any, here: Any, place: str = "") -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in dict.fromkeys([*there, *here]):
            yield from _differences(there.get(key), here.get(key), f"{place}.{key}" if place else str(key))
    elif there != here:
        short = place in ("data", "backbone")
        yield f"{place} differs" if short else f"{place} was {there!r:.{_MOST}} there and is {here!r:.{_MOST}} here"


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
    for part in (data.train, data.evaluate):
        digest.update(np.asarray([len(part), *part], dtype=np.int64).tobytes())
    return digest.hexdigest()
