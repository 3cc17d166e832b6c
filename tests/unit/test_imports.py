"""``import manyheads`` and ``manyheads --help`` load nothing heavy, predicting only what it needs; every public name is
there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import manyheads as mh

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "fastapi",
    "granian",
    "prometheus_client",
    "ray",
    "matplotlib",
    "onnx",
    "pyarrow",
    "numpy",
    "sklearn",
    "pandas",
)


def modules_of(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(','.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.strip().splitlines()[-1].split(","))


def loaded_by(code: str) -> set[str]:
    return {name.partition(".")[0] for name in modules_of(code)}


@pytest.mark.parametrize(
    "code",
    [
        "import manyheads",
        "from typer.testing import CliRunner; from manyheads.cli.app import app; CliRunner().invoke(app, ['--help'])",
        "from typer.testing import CliRunner; from manyheads.cli.app import app\n"
        "for name in ('train', 'predict', 'serve', 'words', 'inspect', 'demo'):\n"
        "    CliRunner().invoke(app, [name, '--help'])",
    ],
    ids=["import", "--help", "train --help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not loaded_by(code) & set(HEAVY)


def test_predicting_imports_nothing_that_only_training_needs(saved: Callable[[str], Path], tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"])).trained = True
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "new.csv").write_text("text\nfever\n", "utf-8")
    arguments = ["predict", str(tmp_path / "model"), str(tmp_path / "new.csv"), "--text", "text"]
    arguments += ["--out", str(tmp_path / "scored.csv")]
    found = modules_of(f"from manyheads.cli.app import app\napp({arguments}, standalone_mode=False)")
    assert (tmp_path / "scored.csv").is_file()
    assert not found & {"sklearn", "scipy.stats", "pandas", "peft", "datasets", "manyheads.training"}


@pytest.mark.parametrize("name", mh.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(mh, name)
    assert value is not None
    assert name.startswith("__") or value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Forked"):
        mh.Forked  # noqa: B018
