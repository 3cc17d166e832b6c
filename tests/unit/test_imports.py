"""``import manyheads`` and ``manyheads --help`` load nothing heavy; every public name is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import manyheads as mh

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "fastapi",
    "ray",
    "matplotlib",
    "onnx",
    "pyarrow",
    "numpy",
    "sklearn",
    "pandas",
)


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(','.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.strip().splitlines()[-1].split(",")}


@pytest.mark.parametrize(
    "code",
    [
        "import manyheads",
        "from typer.testing import CliRunner; from manyheads.cli.app import app; CliRunner().invoke(app, ['--help'])",
        "from typer.testing import CliRunner; from manyheads.cli.app import app\n"
        "for name in ('train', 'predict', 'words', 'inspect', 'demo'): CliRunner().invoke(app, [name, '--help'])",
    ],
    ids=["import", "--help", "train --help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not loaded_by(code) & set(HEAVY)


@pytest.mark.parametrize("name", mh.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(mh, name)
    assert value is not None
    assert name.startswith("__") or value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Forked"):
        mh.Forked  # noqa: B018
