"""Every example in the docstring of a public name runs, and every public name has one.

An example may use these names without defining them: ``mh``, ``np``, ``torch``, ``Path``, ``texts`` (three strings),
``table`` (24 dicts, see ``tests.docs.samples.triage_table``), ``folder`` (an empty folder), ``gpt2`` and ``bert``
(tiny checkpoints), ``model`` (GPT-2 with the untrained head ``urgency``), ``trained`` (the same, trained) and
``exported`` (the folder of its ONNX export).
"""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.heads import HeadSpec
from manyheads.taps.base import Tap
from manyheads.training.method import Method
from tests.docs.samples import URGENCY, triage_table

TEXTS = ["severe chest pain since two hours", "mild cough", "sudden fever at night"]
NO_EXAMPLE_NEEDED = {"__version__"}
# Their members are called by the library, not by users, so only the class itself needs an example.
CALLED_BY_THE_LIBRARY = (HeadSpec, Tap, Method, mh.Trainer)


def is_member(value: object) -> bool:
    return isinstance(value, (classmethod, staticmethod, property)) or inspect.isfunction(value)


def members_of(owner: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that this package defines for a class."""
    for name in dir(owner):
        home = next((base for base in owner.__mro__ if name in vars(base)), object)
        if not name.startswith("_") and home.__module__.startswith("manyheads") and is_member(vars(home)[name]):
            yield name, inspect.getattr_static(owner, name)


def documented() -> Iterator[tuple[str, Any, bool]]:
    """Yield every public object with its name and whether it needs an example."""
    for name in mh.__all__:
        value = getattr(mh, name)
        yield name, value, name not in NO_EXAMPLE_NEEDED
        if inspect.isclass(value):
            needed = not issubclass(value, CALLED_BY_THE_LIBRARY)
            yield from ((f"{name}.{member}", found, needed) for member, found in members_of(value))


def example_of(name: str, value: object) -> doctest.DocTest:
    value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
    text = inspect.cleandoc(getattr(value, "__doc__", None) or "")
    return doctest.DocTestParser().get_doctest(text, {}, name, None, None)


DOCUMENTED = {name: (example_of(name, value), needed) for name, value, needed in documented()}
EXAMPLES = {name: example for name, (example, _) in DOCUMENTED.items() if example.examples}


def headed(checkpoints: Path) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(checkpoints / "gpt2")
    model.add_head("urgency", mh.Multiclass(labels=list(URGENCY.values())))
    return model


@pytest.fixture(scope="session")
def trained_folder(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    method = mh.Frozen(cache=None, dtype="float32")
    mh.train(headed(checkpoints), triage_table(), text="note", method=method, out=folder)
    return folder


@pytest.fixture(scope="session")
def exported_folder(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "graph"
    mh.HeadedModel.from_pretrained(trained_folder).export_onnx(folder, language_model=True)
    return folder


@pytest.fixture
def names(
    checkpoints: Path,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Callable[[], object]]:
    """What an example may use, made only where the example mentions it."""
    folder = tmp_path_factory.mktemp("folder")
    monkeypatch.chdir(folder)
    return {
        "mh": lambda: mh,
        "np": lambda: np,
        "torch": lambda: torch,
        "Path": lambda: Path,
        "texts": lambda: list(TEXTS),
        "table": triage_table,
        "folder": lambda: folder,
        "gpt2": lambda: checkpoints / "gpt2",
        "bert": lambda: checkpoints / "bert",
        "model": lambda: headed(checkpoints),
        "trained": lambda: mh.HeadedModel.from_pretrained(request.getfixturevalue("trained_folder")),
        "exported": lambda: request.getfixturevalue("exported_folder"),
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name: str, names: dict[str, Callable[[], object]]) -> None:
    example = EXAMPLES[name]
    source = "".join(line.source for line in example.examples)
    example.globs = {key: make() for key, make in names.items() if re.search(rf"\b{key}\b", source)}
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    result = runner.run(example, out=report.append)
    assert result.failed == 0, "".join(report)


def test_every_public_name_has_an_example() -> None:
    without = {name for name, (example, needed) in DOCUMENTED.items() if needed and not example.examples}
    assert not without
